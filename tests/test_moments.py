"""The tiny policy of the moment world: token streams as at run time, habits, a whole small run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from vtool.rl.recipe import load_recipe
from vtool.rl.tiny.batch import positions_of
from vtool.rl.tiny.export import export
from vtool.rl.tiny.moments_build import MomentHabits, build, expert_demos, spoil
from vtool.rl.tiny.moments_expert import (
    MOMENTS,
    SPEC,
    MomentScribe,
    around,
    cued_window,
    glance,
    look,
    new_tokenizer,
    refused,
    turns,
)
from vtool.rl.tiny.spec import new_policy
from vtool.rl.tiny.teach import Lesson, policy_loss

from vtool.data import load_tasks
from vtool.engines.scripted import ScriptedEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.pairs import load_renderer
from vtool.programs.solo import play
from vtool.record import Sampling, StopReason
from vtool.seat import Seat
from vtool.shipped import shipped, shipped_checkpoints
from vtool.temporal_score import temporal_score
from vtool.toolbox import Toolbox
from vtool.worlds.moments import Ask, draw
from vtool.worlds.moments_files import make

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scribe() -> MomentScribe:
    return MomentScribe(new_tokenizer(60))


@pytest.fixture(scope="module")
def policy(scribe, tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("random")
    export(new_policy(scribe.tokenizer, 1, SPEC), scribe, folder, "random", ("resample",))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("world"), seed=3, videos=8, variable=0.5)


def test_a_time_is_two_tokens(scribe):
    for text in ("<12.4 seconds>", "[12.4, 119.0]", "from 7.3 to 120.0 seconds"):
        names = [scribe.tokenizer.decode([i]) for i in scribe.encode(text)]
        for number in (n for n in text.replace("<", " ").replace("[", " ").split() if "." in n):
            whole, tenth = number.strip("],").split(".")
            assert names[names.index(whole) + 1] == f".{tenth}"


def test_the_experts_token_stream_is_that_of_the_run_time(scribe, policy, files):
    """The same turns, played against the real files and tool, give the same ids; and are right."""
    renderer = load_renderer(policy)
    for number, task in enumerate(load_tasks(files)):
        moment, ask = draw((3 << 32) + number // 4, variable=0.5), Ask(task.tags["kind"])
        made, shown = turns(moment, ask)
        episode = _played(scribe, renderer, task, Toolbox(["resample"]), made)
        assert episode.final.ids().tolist() == scribe.write(moment, ask, made, shown).ids
        assert temporal_score(episode.answer, task) > (0.6 if ask.timed else 0.99)


def test_a_refused_look_reads_as_at_run_time_and_is_followed_by_a_guess(scribe, policy, files):
    renderer, rng = load_renderer(policy), np.random.default_rng(0)
    scores: dict[bool, list[float]] = {True: [], False: []}
    for number, task in enumerate(load_tasks(files)):
        moment, ask = draw((3 << 32) + number // 4, variable=0.5), Ask(task.tags["kind"])
        made, shown = refused(moment, ask, rng)
        episode = _played(scribe, renderer, task, Toolbox(["resample"]).only(()), made)
        assert episode.final.ids().tolist() == scribe.write(moment, ask, made, shown).ids
        scores[ask.timed].append(temporal_score(episode.answer, task))
    assert 0.02 < np.mean(scores[True]) < 0.5
    assert np.mean(scores[False]) < 0.5


def _played(scribe, renderer, task, toolbox, made):
    engine = ScriptedEngine([scribe.encode(f"{t.text}<|im_end|>") for t in made])
    env = ToolEnvironment(task, toolbox, Limits(max_tokens=2048))
    seats = {"policy": Seat("policy", renderer, engine, Sampling(max_tokens=160))}
    episode = asyncio.run(play(env, seats, key=(0, 0)))
    assert episode.stop is StopReason.ANSWERED
    return episode


def test_positions_are_the_librarys_own(scribe):
    model = new_policy(scribe.tokenizer, 0, SPEC).model.model
    demo = scribe.write(draw(5), Ask.BOTH, *turns(draw(5), Ask.BOTH))
    ids = torch.tensor([demo.ids])
    grids = torch.tensor([MOMENTS.patches(v).grid for v in demo.views])
    wanted, _ = model.get_rope_index(ids, (ids == scribe.image).long(), image_grid_thw=grids)
    assert torch.equal(positions_of(demo.ids, scribe.image, demo.views, MOMENTS), wanted[:, 0])


def test_a_second_look_tells_the_span_better():
    """What the policy is taught for spans pays: the closer look brings the overlap up."""
    gains = []
    for seed in range(60):
        moment = draw(seed)
        first = glance(moment)
        window = cued_window(moment, first)
        coarse = around(moment, look(moment, window), window)
        fine = turns(moment, Ask.WHEN)[0][-1].answer
        assert coarse is not None
        task = type("T", (), {"reference": _spans(moment)})
        gains.append(
            temporal_score(fine, task) - temporal_score(f"[{coarse[1]}, {coarse[2]}]", task)
        )
    assert np.mean(gains) > 0.1


def _spans(moment):
    from vtool.task import Spans

    return Spans((moment.span,))


@pytest.mark.parametrize(
    ("habits", "calls"),
    [
        (MomentHabits(1, 0, 0, 0), {1, 2}),
        (MomentHabits(0, 1, 0, 0), {1}),
        (MomentHabits(0, 0, 1, 0), {0}),
        (MomentHabits(0, 0, 0, 1), {1}),
    ],
)
def test_each_habit_does_what_it_says(habits, calls):
    rng = np.random.default_rng(0)
    rows = [(a, spoil(draw(i), a, rng, habits)[0]) for i in range(15) for a in Ask]
    assert {len(made) - 1 for _, made in rows} == calls
    assert all(made[-1].answer and not any(t.answer for t in made[:-1]) for _, made in rows)


def test_the_policy_writes_only_its_own_words(scribe):
    lesson = Lesson("x", 1, 1.0, batch=6)
    for demo in expert_demos(lesson, scribe, np.random.default_rng(0)):
        mine = [i for i, learn in zip(demo.ids, demo.learn, strict=True) if learn]
        text = scribe.tokenizer.decode(mine, skip_special_tokens=False)
        assert scribe.image not in mine
        assert re.match(r"[0-9]+\.[0-9] (light|dark)", text)
        assert text.endswith("</answer><|im_end|>")
        assert "<tool_response>" not in text


def test_building_a_policy_goes_through_every_stage(tmp_path):
    said = []
    found = build(tmp_path, minutes=0.02, count=2, log=said.append)
    assert set(found) == {"clean", "weak"}
    stages = [e["stage"] for e in said if "stage" in e]
    assert list(dict.fromkeys(stages)) == [
        "vision",
        "drills",
        "whole episodes",
        "sharpen",
        "weaken",
    ]
    for name in found:
        assert "| both, tool off |" in (tmp_path / name / "README.md").read_text()
        assert json.loads((tmp_path / name / "vtool.json").read_text())["tools"] == ["resample"]


def test_the_loss_is_that_of_the_tokens_learnt(scribe):
    vlm = new_policy(scribe.tokenizer, 2, SPEC)
    rows = expert_demos(Lesson("x", 1, 1.0, batch=3), scribe, np.random.default_rng(1))
    losses, wanted = policy_loss(vlm, rows, scribe.image, frozen=True)
    assert len(losses) == len(wanted) == sum(sum(r.learn) for r in rows)
    one, _ = policy_loss(vlm, rows[:1], scribe.image, frozen=True)
    assert any(
        torch.allclose(one, losses[i : i + len(one)], atol=1e-4)
        for i in range(len(losses) - len(one) + 1)
    )


# -------------------------------------------------------------------- the recipe


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("moments", ROOT / "scripts" / "moments.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["moments"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["moments"]


def test_the_recipe_is_grpo_and_then_dgrpo():
    recipe = load_recipe("vital")
    assert [s["name"] for s in recipe.stages] == ["grpo", "dgrpo"]
    assert "weight" not in recipe.stages[0]
    assert recipe.stages[1]["weight"]["placement"] == "after"
    assert recipe.model in shipped_checkpoints()
    size = (shipped(recipe.model) / "model.safetensors").stat().st_size
    assert size <= 2.5e6


def test_intervals_are_over_videos(script):
    rows = [(f"v{i}", float(i % 2)) for i in range(100) for _ in range(4)]
    mean, low, high = script.interval(rows)
    assert mean == 0.5
    assert 0.15 < high - low < 0.25
    assert script.interval([("v", 1.0)] * 5) == [1.0, 1.0, 1.0]


def test_two_steps_end_to_end(script, policy, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["group_size=2", "prompts=2", "data.options={videos: 3}", "trace_every=0"]
    stages = "stages=[{name: grpo, steps: 1}, {name: dgrpo, steps: 1, weight: {name: difficulty}}]"
    words = ["--out", str(out), "--start", str(policy), "--videos", "2", *small, stages]
    assert script.main(words) == 0
    told = capsys.readouterr().out
    assert "learnt: QA accuracy" in told
    # Each stage counts its steps from 1, and so is named beside them.
    assert all(f"stage {i}/2 ({n}), step 1/1" in told for i, n in ((1, "grpo"), (2, "dgrpo")))
    summary = json.loads((out / "summary.json").read_text())
    names = ["before", "before, tool off", "after", "after, tool off", "after, blank looks"]
    assert list(summary["rows"]) == names
    assert summary["rows"]["after"]["n"] == 8
    for stage in ("01-grpo", "02-dgrpo"):
        lines = (out / stage / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 1
        assert "reward/part/span_iou" in json.loads(lines[0])
    assert (out / "02-dgrpo" / "model" / "model.safetensors").is_file()
    # Gone on with: nothing is trained or played again, and the figures are the same.
    (out / "summary.json").unlink()
    assert script.main(words) == 0
    assert json.loads((out / "summary.json").read_text())["rows"] == summary["rows"]
    assert len((out / "02-dgrpo" / "metrics.jsonl").read_text().splitlines()) == 1
