"""Evaluation: played through the one loop, resumed, controlled, counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import FAMILY, RENDERER, Oracle, run, tasks
from sample_episode import lost_episode, zoom_episode, zoom_task
from vtool.eval.attempt import judge
from vtool.eval.controls import controls
from vtool.eval.folder import mend
from vtool.eval.run import Settings, evaluate

from vtool.benchmark import metrics
from vtool.dialects.hermes import Hermes
from vtool.environment import Limits
from vtool.errors import DataError, UnknownName, VToolError
from vtool.geometry import Box, coverage, iou
from vtool.record import StopReason
from vtool.tool import tools
from vtool.toolbox import Toolbox
from vtool.trace import read_trace

EXACT = metrics.get("exact_match")


def test_right_policy_on_the_evidence():
    some = tasks()
    report = run(Oracle(some), some)
    assert report.total.accuracy == 1.0
    assert report.total.tool_rate == 1.0
    assert report.total.valid_call_rate == 1.0
    assert report.total.iou > 0.9
    assert report.stops == {"answered": 4}


def test_wrong_policy_and_k_attempts():
    some = tasks(2)
    report = run(Oracle(some, right=False), some, settings=Settings(k=3))
    assert (report.total.accuracy, report.total.best_of_k) == (0.0, 0.0)
    assert (report.k, report.total.attempts) == (3, 6)


def test_a_finished_evaluation_is_not_played_again(tmp_path):
    some = tasks()
    first = run(Oracle(some), some, out=tmp_path)
    again = Oracle(some)
    second = run(again, some, out=tmp_path)
    assert again.asked == []
    assert second.total == first.total
    assert len(list(read_trace(tmp_path / "trace"))) == 4


def test_a_killed_evaluation_plays_the_rest_and_totals_are_those_of_an_unbroken_one(tmp_path):
    some = tasks()
    unbroken = run(Oracle(some), some, out=tmp_path / "whole")
    run(Oracle(some), some[:2], out=tmp_path / "cut")
    lines = tmp_path / "cut" / "trace" / "episodes.jsonl"
    lines.write_bytes(lines.read_bytes() + lines.read_bytes()[:500])
    engine = Oracle(some)
    resumed = run(engine, some, out=tmp_path / "cut")
    assert sorted(engine.asked) == sorted(t.id for t in some[2:])
    assert resumed.total == unbroken.total
    assert len(list(read_trace(tmp_path / "cut" / "trace"))) == 4


def test_a_folder_is_not_gone_on_with_under_other_questions_weights_or_tools(tmp_path):
    some = tasks()
    run(Oracle(some), some, out=tmp_path, settings=Settings(weights="a"))
    swapped = [replace(a, id=b.id) for a, b in zip(some, reversed(some), strict=True)]
    with pytest.raises(DataError, match="another question of the id"):
        run(Oracle(some), swapped, out=tmp_path, settings=Settings(weights="a"))
    with pytest.raises(DataError, match="weights"):
        run(Oracle(some), some, out=tmp_path, settings=Settings(weights="b"))
    bare = evaluate(
        some,
        renderer=RENDERER,
        engine=Oracle(some),
        toolbox=Toolbox([]),
        settings=Settings(weights="a"),
        out=tmp_path,
    )
    with pytest.raises(DataError, match="tools"):
        asyncio.run(bare)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        run(Oracle(some), some, out=tmp_path, settings=Settings(weights="a"))


def test_running_out_of_time_is_wrong_and_not_left_out():
    some = tasks(2)

    class Slow(Oracle):
        async def chat(self, messages, store, specs, sampling):
            if some[0].prompt[-1] in (m.text for m in messages):
                await asyncio.sleep(5)
            return await super().chat(messages, store, specs, sampling)

    report = run(Slow(some), some, settings=Settings(limits=Limits(seconds=0.3)))
    assert (report.broken, report.total.n, report.total.accuracy) == (0, 2, 0.5)
    assert report.stops == {"answered": 1, "timeout": 1}


def test_what_broke_is_told_and_played_again_next_time(tmp_path):
    some = tasks()
    report = run(Oracle(some, fail={some[0].id}), some, out=tmp_path)
    assert (report.broken, report.total.n, report.total.accuracy) == (1, 3, 1.0)
    assert "EngineError: gone" in report.errors
    engine = Oracle(some)
    report = run(engine, some, out=tmp_path)
    assert engine.asked == [some[0].id]
    assert (report.broken, report.total.n) == (0, 4)


def test_other_settings_need_another_folder(tmp_path):
    some = tasks(1)
    run(Oracle(some), some, out=tmp_path)
    with pytest.raises(DataError, match=r"seed: 0 there, 1 now"):
        run(Oracle(some), some, out=tmp_path, settings=Settings(seed=1))


def test_ids_and_names_are_checked_before_anything_is_played():
    some = tasks(1)
    engine = Oracle(some)
    with pytest.raises(DataError, match="comes twice"):
        run(engine, [*some, *some])
    with pytest.raises(UnknownName, match="did you mean 'blank'"):
        run(engine, some, settings=Settings(control="blnk"))
    with pytest.raises(UnknownName, match="did you mean 'exact_match'"):
        run(engine, some, settings=Settings(metric="exact_mtch"))
    assert engine.asked == []


def test_a_control_needs_to_know_how_pictures_are_shown():
    bare = SimpleNamespace(name="bare", dialect=Hermes())
    some = tasks(1)
    job = evaluate(
        some,
        renderer=bare,
        engine=Oracle(some),
        toolbox=Toolbox(["zoom"]),
        settings=Settings(control="overview"),
    )
    with pytest.raises(VToolError, match="has none"):
        asyncio.run(job)


def controlled(name: str):
    return controls.get(name)(Toolbox(["zoom"]), FAMILY.shown_size)


def changed_zoom(name: str):
    return controlled(name)._offers["zoom"].tool


def test_off_offers_nothing_and_answers_a_call_with_unknown_tool(tmp_path):
    assert controlled("off").specs == ()
    some = tasks(1)
    settings = Settings(control="off", limits=Limits(max_turns=2))
    run(Oracle(some), some, settings=settings, out=tmp_path)
    record = next(read_trace(tmp_path / "trace"))
    assert [str(o.fault.code) for o in record.episode.outcomes()] == ["unknown_tool"]


def test_blank_keeps_the_size_and_nothing_else():
    image, box = zoom_task().prompt[0], Box(0.2, 0.2, 0.5, 0.6)
    real = tools.get("zoom").fn(image=image, box=box).values[0]
    blank = changed_zoom("blank").fn(image=image, box=box).values[0]
    assert blank.size == real.size
    assert len(np.unique(blank.pixels)) == 1


def test_overview_has_no_more_detail_than_the_first_look():
    """A digit's black strokes are gone in the crop, although it is cut at the same place."""
    task = zoom_task()
    image, box = task.prompt[0], task.evidence[-1].shape
    real = tools.get("zoom").fn(image=image, box=box).values[0]
    blurred = changed_zoom("overview").fn(image=image, box=box).values[0]
    assert blurred.size == real.size
    assert blurred.pixels.min() > real.pixels.min() + 20
    again = image.resize((64, 64)).resize(image.size).crop(box)
    assert np.array_equal(blurred.pixels, again.pixels)


def test_random_box_keeps_its_size_misses_and_repeats():
    image, zoom = zoom_task().prompt[0], tools.get("zoom")
    seen = []
    moved = changed_zoom("random_box")
    for i in range(40):
        box = Box(0.1 + i * 0.01, 0.2, 0.25 + i * 0.01, 0.4)
        cut = moved.fn(image=image, box=box).values[0]
        back = cut.lineage.transform
        place = Box(back.c, back.f, back.c + back.a, back.f + back.e)
        want = zoom.fn(image=image, box=box).values[0]
        assert abs(cut.size[0] - want.size[0]) <= 1
        assert abs(cut.size[1] - want.size[1]) <= 1
        assert cut == moved.fn(image=image, box=box).values[0]
        seen.append(iou(place, box))
    assert np.mean(seen) < 0.2


def test_controls_share_no_cached_result_with_the_real_tools():
    toolbox = Toolbox(["zoom"])
    blank = controls.get("blank")(toolbox, FAMILY.shown_size)
    assert blank._cache is not toolbox._cache
    some = tasks(1)
    for settings in (Settings(), Settings(control="blank")):
        run(Oracle(some), some, settings=settings)


def test_judge_counts_an_episode():
    task = zoom_task()
    right = judge(zoom_episode(task), task, 0, EXACT)
    assert (right.correct, right.calls, right.valid_calls, right.turns) == (1.0, 1, 1, 2)
    assert right.looked
    assert right.iou > 0.85
    away = Box(0.0, 0.0, 0.1, 0.1)
    assert coverage(task.evidence[-1].shape, away) == 0
    wrong = judge(zoom_episode(task, box=away, answer="x"), task, 0, EXACT)
    assert (wrong.correct, wrong.iou) == (0.0, 0.0)
    lost = judge(lost_episode(task), task, 0, EXACT)
    assert (lost.correct, lost.iou, lost.looked, lost.stop) == (
        0.0,
        None,
        False,
        StopReason.MAX_TURNS,
    )


def test_mend_cuts_only_what_is_unfinished(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"a\nb\nhalf")
    mend(path)
    assert path.read_bytes() == b"a\nb\n"
    mend(path)
    assert path.read_bytes() == b"a\nb\n"
