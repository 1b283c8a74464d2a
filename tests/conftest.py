"""What every test gets: support modules importable, one thread, derandomised properties in CI."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

CI = os.environ.get("CI", "").lower() in ("1", "true")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# importlib mode puts nothing on the path; support modules are imported by their plain names.
sys.path.insert(0, str(Path(__file__).parent / "support"))

settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if CI else "dev")

try:
    import torch
except ModuleNotFoundError:
    pass
else:
    torch.set_num_threads(1)

PROGRAMS = {
    "bubblewrap": ("bwrap",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}


def find_program(name: str) -> str | None:
    """Path of a program of the operating system, under any of its names."""
    found = (shutil.which(p) for p in PROGRAMS[name])
    return next((p for p in found if p), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing system program skips a test on a desk, and fails it in CI."""
    for mark in item.iter_markers("system"):
        for name in mark.args:
            if find_program(name) is None:
                said = f"{name} is not installed: run `make system-deps`"
                pytest.fail(said, pytrace=False) if CI else pytest.skip(said)


@pytest.fixture
def chromium() -> str:
    """Path of a chromium; for tests marked `system("chromium")`."""
    path = find_program("chromium")
    assert path is not None
    return path
