"""Exact counts of `benchmarks/prefix_vision_reuse.py`: they depend on no clock."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def reuse(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("prefix_vision_reuse")


@pytest.mark.parametrize(("crops_of", "visual"), [(8, 128 + 32 * 64), (4, 128 + 16 * 64)])
def test_a_group_does_the_least_work(reuse, crops_of, visual):
    done = reuse.count(crops_of)
    # Prompt once, then per member and crop: the crop, its wrapper, and the last drawn token.
    assert done == {"visual": visual, "prefill": 22 + 128 + 8 * 4 * (64 + 2 + 1)}
    assert reuse.measure(crops_of)["passed"]


def test_the_closed_forms_are_those_of_the_full_sizes(reuse, monkeypatch):
    for name, value in {"N0": 1280, "C": 640, "X": 220, "DRAWN": 150, "WRAP": 20}.items():
        monkeypatch.setattr(reuse, name, value)
    assert reuse.bounds(32) == {
        "naive": {"visual": 102_400, "prefill": 124_800},
        "per_rollout": {"visual": 30_720, "prefill": 33_120},
        "optimum": {"visual": 21_760, "prefill": 22_620},
    }
    assert reuse.bounds(16)["optimum"]["visual"] == 11_520
