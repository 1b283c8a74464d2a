"""kill -9 at any moment: the resumed run ends with the bits of an unbroken one."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "support" / "kill_runs.py"

FEW = ("rollout/middle", "step/weights", "save/before_rename")
MANY = (
    "rollout/first",
    "rollout/tool",
    "rollout/scoring",
    "step/begin",
    "step/gradient",
    "step/end",
    "publish/before",
    "publish/after",
    "publish/logged",
    "publish/export",
    "save/first",
    "save/before_files",
    "save/after_model",
    "save/after_optimizer",
    "save/after_state",
    "save/after_manifest",
    "save/after_rename",
    "save/before_drop",
    "save/after_drop",
)
SURVIVED = {
    "killed": True,
    "resumed": True,
    "same_weights": True,
    "same_metrics": True,
    "left": [],
}


@functools.cache
def outcomes(moments):
    """What became of runs killed at these moments, one after the other in one process."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), folder, *moments],
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("moment", FEW)
def test_killed_and_resumed(moment):
    assert outcomes(FEW)[moment] == {"reached": moment, **SURVIVED}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MANY)
def test_killed_anywhere_and_resumed(moment):
    assert outcomes(MANY)[moment] == {"reached": moment, **SURVIVED}


def test_the_moments_cover_every_phase():
    moments = {*FEW, *MANY}
    assert len(moments) >= 20
    assert {m.split("/")[0] for m in moments} == {"rollout", "step", "save", "publish"}
