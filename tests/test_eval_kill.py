"""Evaluations of the shipped policies, killed (SIGKILL, the whole process) and gone on with.

A small version of `benchmarks/eval_kill.py`, whose full one is in `benchmarks/results`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import eval_kill

from vtool.cli import main


def make(folder, *words):
    with pytest.raises(SystemExit) as caught:
        main(["data", "make", *words, "--out", str(folder), "--split", "held_out"])
    assert not caught.value.code
    return folder / "tasks.jsonl"


def test_killed_three_times_it_comes_to_the_numbers_of_an_unbroken_run(tmp_path):
    tasks = make(tmp_path / "data", "zoom", "--one", "24")
    found = eval_kill.compare(tasks, tmp_path, "tiny/clean", "zoom", kills=3, seed=1)
    assert found["questions"] == 24
    assert found["killed"] >= 2
    assert found["finished_at_kills"] == sorted(found["finished_at_kills"])
    assert 0 < found["finished_at_kills"][0] <= found["finished_at_kills"][-1]
    # What it goes by can tell: a sample that stands twice is seen.
    lines = tmp_path / "torn" / "main" / "trace" / "episodes.jsonl"
    assert set(eval_kill.played(tmp_path / "torn").values()) == {1}
    lines.write_bytes(lines.read_bytes() * 2)
    assert set(eval_kill.played(tmp_path / "torn").values()) == {2}
