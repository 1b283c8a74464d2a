"""The quick start: disjoint sets, folders set aside, exact keys, and a whole small run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from vtool.eval.attempt import Attempt
from vtool.eval.report import summarise

from vtool.errors import DataError, VToolError
from vtool.record import StopReason

ROOT = Path(__file__).parent.parent
KEYS = [
    "accuracy_before",
    "accuracy_after",
    "accuracy_sampled_after",
    "accuracy_no_tool",
    "accuracy_blank_crop",
    "accuracy_overview_crop",
    "accuracy_random_box",
    "accuracy_two_zoom",
    "tool_rate_before",
    "tool_rate_after",
    "iou_after",
    "seconds",
    "seed",
    "n",
]


@pytest.fixture(scope="module")
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "scripts" / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["quickstart"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["quickstart"]


def test_plan_from_the_command_line(quickstart, tmp_path):
    plan = quickstart.read_plan(["--seed", "7", "--out", str(tmp_path / "q"), "steps=3"])
    recipe = quickstart.make_recipe(plan)
    assert (recipe.seed, recipe.steps, recipe.data.options["seed"]) == (7, 3, 7)
    assert recipe.model == "tiny/weak"
    plan = quickstart.read_plan(["--start", "tiny/clean"])
    assert quickstart.make_recipe(plan).model == "tiny/clean"


def test_training_and_held_out_pictures_are_disjoint_and_that_is_checked(quickstart, tmp_path):
    from vtool.worlds.dataset import make

    train = make(tmp_path / "a", seed=0, one=40, none=10)
    held = make(tmp_path / "b", seed=0, one=20, none=5, split="held_out")
    quickstart.check_disjoint(train, held)
    again = make(tmp_path / "c", seed=0, one=1)
    with pytest.raises(DataError, match="in training and in held-out"):
        quickstart.check_disjoint(train, again)


def test_a_finished_run_is_set_aside_and_an_unfinished_one_is_gone_on_with(quickstart, tmp_path):
    plan = quickstart.read_plan(["--out", str(tmp_path / "q")])
    quickstart.open_folder(plan)
    (plan.out / "half").touch()
    quickstart.open_folder(plan)
    assert (plan.out / "half").exists()
    (plan.out / "summary.json").touch()
    quickstart.open_folder(plan)
    assert not (plan.out / "half").exists()
    assert (tmp_path / "q.old-1" / "half").exists()
    quickstart.open_folder(dataclasses.replace(plan, seed=1))
    assert (tmp_path / "q.old-2" / "plan.json").exists()


def reports(quickstart, **changes):
    def attempt(kind: str, i: int) -> Attempt:
        base = Attempt(
            task_id=f"{kind}-{i}",
            attempt=0,
            tags={"kind": kind},
            correct=float(i % 2),
            stop=StopReason.ANSWERED,
            calls=1,
            valid_calls=1,
            turns=2,
            tokens=90,
            iou=0.5,
            looked=True,
        )
        return dataclasses.replace(base, **changes)

    everything = [attempt(k, i) for k in ("none", "one", "two") for i in range(4)]
    ones = [a for a in everything if a.tags["kind"] == "one"]
    found = {n: summarise(everything, name=n) for n in ("before", "after")}
    found |= {n: summarise(ones, name=n) for n in ("before, sampled", "after, sampled")}
    return found | {c: summarise(ones, name="after", control=c) for c in quickstart.CONTROLS}


def test_summary_has_exactly_the_promised_keys(quickstart):
    plan = quickstart.read_plan([])
    summary = quickstart.summarise(plan, reports(quickstart), 12.34)
    assert list(summary) == KEYS
    assert (summary["n"], summary["accuracy_after"], summary["seconds"]) == (4, 0.5, 12.3)


def test_no_summary_is_made_of_attempts_that_broke(quickstart):
    plan = quickstart.read_plan([])
    some = reports(quickstart)
    broken = reports(quickstart, stop=StopReason.FAILED, error="EngineError: gone")
    with pytest.raises(VToolError, match="EngineError: gone"):
        quickstart.summarise(plan, {**some, "blank": broken["blank"]}, 1.0)


@pytest.mark.slow
def test_a_whole_small_run(tmp_path):
    """Two steps, few questions: every file is there, and the last three lines say what to do."""
    out = tmp_path / "run"
    command = [sys.executable, str(ROOT / "scripts" / "quickstart.py"), "--out", str(out)]
    changes = ["--count", "10", "steps=2", "data.options={one: 40, none: 10}"]
    done = subprocess.run([*command, *changes], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.strip().splitlines()
    assert [line.split(":")[0] for line in lines[-3:]] == ["learnt", "look at", "try"]
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary) == KEYS
    for name in ("metrics.jsonl", "curves.png", "report.html", "details.md", "recipe.json"):
        assert (out / name).stat().st_size > 100, name
    assert (out / "model" / "model.safetensors").is_file()
    assert list(out.glob("trace/**/episodes.jsonl"))
    assert list(out.glob("eval/after/trace/episodes.jsonl"))
    steps = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(s["step_distance"] > 0 for s in steps)
