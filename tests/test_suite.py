"""The suite's own rule: a missing system program skips on a desk and fails in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 error"), ("", "1 skipped")])
def test_a_missing_browser(ci, outcome, tmp_path):
    test = "tests/test_demos_view.py::test_the_page_lays_out_in_a_browser"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    env = {**os.environ, "CI": ci, "PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert outcome in done.stdout, done.stdout[-1500:]
    assert "make system-deps" in done.stdout
