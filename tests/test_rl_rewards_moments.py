"""The hierarchies of time, on questions about real videos, played against the real tool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from vtool.rl.assembly import make_judges
from vtool.rl.recipe import Recipe, RewardSpec
from vtool.rl.rewards.presets import PRESETS, preset
from vtool.rl.tiny.export import export
from vtool.rl.tiny.moments_expert import SPEC, MomentScribe, new_tokenizer, turns
from vtool.rl.tiny.spec import new_policy

from vtool.data import load_tasks
from vtool.engines.scripted import ScriptedEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.geometry import Span, span_iou
from vtool.pairs import load_renderer
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.reward import Score, choose, parts
from vtool.scoring import score_group
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.worlds.moments import Ask, Moment, draw
from vtool.worlds.moments_files import make
from vtool.worlds.moments_play import write_answer

SEED = 5
KINDS = {"temporal_localization": Ask.WHEN, "grounded_video_qa": Ask.BOTH}


@pytest.fixture(scope="module")
def scribe() -> MomentScribe:
    return MomentScribe(new_tokenizer(60))


@pytest.fixture(scope="module")
def world(scribe, tmp_path_factory):
    """A renderer, and two questions about one video."""
    folder: Path = tmp_path_factory.mktemp("random")
    export(new_policy(scribe.tokenizer, 1, SPEC), scribe, folder, "random", ("resample",))
    asks = list(KINDS.values())
    files = make(tmp_path_factory.mktemp("world"), seed=SEED, videos=1, asks=asks, variable=0.0)
    return load_renderer(folder), {Ask(t.tags["kind"]): t for t in load_tasks(files)}


def played(world, scribe, task: Task, said: list[str]) -> Episode:
    engine = ScriptedEngine([scribe.encode(f"{text}<|im_end|>") for text in said])
    env = ToolEnvironment(task, Toolbox(["resample"]), Limits(max_tokens=2048))
    seats = {"policy": Seat("policy", world[0], engine, Sampling(max_tokens=160))}
    episode = asyncio.run(play(env, seats, key=(0,)))
    assert not episode.stop.ours, episode.error
    return episode


def judged(name: str, task: Task, *episodes: Episode) -> list[Score]:
    judges = make_judges(Recipe(name="t", reward=RewardSpec(preset=name)))
    return score_group(episodes, task, judges.parts, judges.combine)


def answer(moment: Moment, ask: Ask, color: str, span: Span) -> str:
    return f"<answer>{write_answer(ask, color, '', span)}</answer>"


def far(moment: Moment) -> Span:
    """A stretch of the same video that the flash is not in."""
    start = 0.0 if moment.span.start_s > moment.seconds / 2 else moment.seconds - 2.0
    return Span(start, start + 2.0)


@pytest.mark.parametrize("name", PRESETS)
def test_all_parts_of_a_preset_are_registered(name):
    chosen = preset(name)
    assert [choose(p).name for p in chosen.parts] == list(chosen.parts)
    assert set(chosen.example) == set(chosen.parts)


def test_the_hierarchies_of_time_judge_what_they_are_named_after():
    when, both = preset("temporal_localization"), preset("grounded_video_qa")
    assert (when.outcome, list(when.evidence)) == ("span_iou", ["evidence_span"])
    assert (both.outcome, list(both.evidence)) == ("grounded_answer", ["span_iou", "evidence_span"])
    assert both.step == 1.0, "words are right or wrong"
    assert when.step < 1.0, "spans are graded"
    assert "temporal_iou" not in parts


@pytest.mark.parametrize(("name", "ask"), KINDS.items())
def test_a_look_that_finds_the_moment_is_worth_most(world, scribe, name, ask):
    moment, task = draw(SEED << 32, variable=0.0), world[1][ask]
    assert moment.span == task.evidence[-1].shape
    made, _ = turns(moment, ask)
    expert = played(world, scribe, task, [t.text for t in made])
    blind = played(world, scribe, task, [answer(moment, ask, moment.color, moment.span)])
    lost = played(world, scribe, task, [answer(moment, ask, "beige", far(moment))])
    silent = played(world, scribe, task, ["so"])
    found, guessed, missed, broken = judged(name, task, expert, blind, lost, silent)
    assert found.parts["evidence_span"] == 1.0
    assert guessed.parts["evidence_span"] == missed.parts["evidence_span"] == 0.0
    assert found.parts["span_iou"] == pytest.approx(spans_of(expert, moment))
    assert guessed.parts["span_iou"] == pytest.approx(1.0)
    assert (missed.parts["span_iou"], missed.parts[preset(name).outcome]) == (0.0, 0.0)
    assert found.total > missed.total > broken.total == 0.0


def spans_of(episode: Episode, moment: Moment) -> float:
    """Overlap of the span of an answer, read here by hand."""
    told = (episode.answer or "").replace("seconds", "").replace("<", " ").replace(">", " ")
    numbers = [float(w) for w in told.replace(",", " ").split() if w[0].isdigit()]
    start, end = numbers[-2:]
    return span_iou(Span(start, end), moment.span)


def test_the_words_decide_before_the_stretch_that_shows_them(world, scribe):
    """Grounded: the right colour with no stretch beats a wrong one with the whole of it."""
    moment, task = draw(SEED << 32, variable=0.0), world[1][Ask.BOTH]
    made, _ = turns(moment, Ask.BOTH)
    look = [t.text for t in made[:-1]]
    right = played(world, scribe, task, [answer(moment, Ask.BOTH, moment.color, far(moment))])
    wrong = played(world, scribe, task, [*look, answer(moment, Ask.BOTH, "beige", moment.span)])
    first, second = judged("grounded_video_qa", task, right, wrong)
    assert (first.parts["grounded_answer"], second.parts["grounded_answer"]) == (1.0, 0.0)
    assert (first.parts["span_iou"], second.parts["span_iou"]) == (0.0, pytest.approx(1.0))
    assert first.total > second.total


def test_a_better_stretch_beats_a_better_look(world, scribe):
    """Localization: one step of overlap is worth more than all of the process."""
    moment, task = draw(SEED << 32, variable=0.0), world[1][Ask.WHEN]
    made, _ = turns(moment, Ask.WHEN)
    look = [t.text for t in made[:-1]]
    late = Span(moment.span.start_s, moment.span.end_s + 1.0)
    exact = played(world, scribe, task, [answer(moment, Ask.WHEN, "", moment.span)])
    looked = played(world, scribe, task, [*look, answer(moment, Ask.WHEN, "", late)])
    first, second = judged("temporal_localization", task, exact, looked)
    assert (first.parts["evidence_span"], second.parts["evidence_span"]) == (0.0, 1.0)
    assert 0 < second.parts["span_iou"] < 0.9
    assert first.total > second.total
