"""Rewards of time: golden numbers, several spans, grounded answers, box tracks, DGRPO's weight."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.rl.credit_spec import CreditSpec, check_credit
from vtool.rl.rewards import temporal
from vtool.rl.sample_weight import Placement, WeightSpec, weighted_advantages

import vtool.combine  # noqa: F401
from vtool.answer_tracks import write_track
from vtool.errors import GeometryError, RecipeError
from vtool.geometry import Box, Convention, Span, span_iou
from vtool.media import Clip, Image
from vtool.message import Author as By
from vtool.message import BoundCall, Message, Outcome, Role, ToolCall
from vtool.record import Episode, Segment, StopReason
from vtool.reward import parts
from vtool.store import Origin
from vtool.task import Answer, Evidence, Grounded, Spans, Task, Tracks
from vtool.temporal import (
    best_iou,
    covered_s,
    hull_iou,
    merged,
    precision,
    rescaled,
    spans_iou,
    stepped,
)
from vtool.track import Track, track_iou, track_viou

# ----------------------------------------------------------------- golden numbers


@pytest.mark.parametrize(
    ("overlap", "wanted"),
    [(0.5, 0.5), (0.2, 0.0), (0.8, 1.0), (0.1, 0.0), (0.95, 1.0), (0.35, 0.25)],
)
def test_rescaling_is_vitals(overlap, wanted):
    assert rescaled(overlap, 0.2, 0.8) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("overlap", "wanted"), [(0.8, 2), (0.81, 3), (0.7, 1), (0.71, 2), (0.5, 0), (0.51, 1), (1, 3)]
)
def test_steps_are_strict(overlap, wanted):
    assert stepped(overlap) == wanted


@pytest.mark.parametrize(("low", "high"), [(0.8, 0.2), (0.5, 0.5), (-0.1, 1), (0, 1.1)])
def test_bounds_out_of_order_are_refused(low, high):
    with pytest.raises(GeometryError, match="low < high"):
        rescaled(0.5, low, high)


def spans(*pairs):
    return [Span(a, b) for a, b in pairs]


@pytest.mark.parametrize(
    ("found", "wanted", "overlap"),
    [
        ([(0, 4)], [(2, 6)], 2 / 6),
        ([(0, 2), (4, 6)], [(1, 5)], 2 / 6),
        ([(0, 1), (1, 2)], [(0, 2)], 1.0),
        ([(0, 2), (0, 2)], [(0, 2)], 1.0),
        ([(0, 1)], [(2, 3)], 0.0),
        ([], [(2, 3)], 0.0),
        ([(0, 10)], [(0, 1), (9, 10)], 0.2),
    ],
)
def test_several_spans_overlap_by_seconds_of_either(found, wanted, overlap):
    assert spans_iou(spans(*found), spans(*wanted)) == pytest.approx(overlap, abs=1e-12)
    assert spans_iou(spans(*wanted), spans(*found)) == pytest.approx(overlap, abs=1e-12)


def test_other_published_overlaps():
    a, b, far = Span(0, 4), Span(2, 6), Span(10, 12)
    assert hull_iou(a, b) == pytest.approx(span_iou(a, b)) == pytest.approx(1 / 3)
    assert hull_iou(a, far) == 0
    assert best_iou(a, [far, b]) == pytest.approx(1 / 3)
    assert best_iou(a, []) == 0
    assert precision([a], [b]) == pytest.approx(0.5)
    assert precision([], [b]) == 0


pair = st.tuples(st.integers(0, 500), st.integers(1, 100)).map(
    lambda p: Span(p[0] / 10, (p[0] + p[1]) / 10)
)


@given(st.lists(pair, min_size=1, max_size=5), st.lists(pair, min_size=1, max_size=5))
def test_overlap_is_that_of_sets_of_tenths(found, wanted):
    def tenths(some):
        return {i for s in some for i in range(round(s.start_s * 10), round(s.end_s * 10))}

    ours, theirs = tenths(found), tenths(wanted)
    assert spans_iou(found, wanted) == pytest.approx(len(ours & theirs) / len(ours | theirs))
    assert covered_s(found) == pytest.approx(len(ours) / 10)
    gaps = zip(merged(found), merged(found)[1:], strict=False)
    assert all(a.end_s < b.start_s for a, b in gaps)


# -------------------------------------------------------------------------- parts

SPAN = Spans((Span(10, 20),))
WHEN = Task(id="t", prompt=("when?",), reference=SPAN, evidence=(Evidence(0, Span(10, 20)),))
WHAT = dataclasses.replace(WHEN, reference=Answer(("red",)))
BOTH = dataclasses.replace(WHEN, reference=Grounded(Answer(("red",)), SPAN))


def episode(answer: str | None, *looks: float, failed: bool = False) -> Episode:
    """An episode that looked at some times, then answered."""
    made = Episode(task_id="t", answer=answer)
    made.stop = StopReason.ANSWERED if answer is not None else StopReason.MAX_TURNS
    context = made.open("policy")
    picture = Image(np.zeros((4, 4, 3), np.uint8))
    first = made.store.add(Clip((picture,), (15.0,)))
    for time in looks:
        made.store.add(Clip((picture,), (time,)), Origin(first.handle, "resample"))
    if looks or failed:
        call = ToolCall("resample", {})
        bound = None if failed else BoundCall(call, "resample")
        outcome = Outcome(call, bound)
        message = Message(role=Role.TOOL, author=By.TOOL, outcomes=(outcome,))
        context.append(Segment(author=By.TOOL, turn=0, messages=(message,)))
    return made


@pytest.mark.parametrize(
    ("task", "answer", "plain", "scaled", "steps", "words", "accuracy"),
    [
        (WHEN, "from 10.0 to 20.0 seconds", 1, 1, 1, None, 1),
        (WHEN, "[10, 15]", 0.5, 0.5, 0, None, 0.5),
        (WHEN, "10-18s", 0.8, 1, 2 / 3, None, 1),
        (WHEN, "[10, 12]", 0.2, 0, 0, None, 0),
        (WHEN, "10-12 s and 12-17.5 s", 0.75, 0.55 / 0.6, 2 / 3, None, 0.55 / 0.6),
        (WHEN, "around noon", 0, 0, 0, None, 0),
        (WHEN, None, 0, 0, 0, None, 0),
        (WHAT, "Red.", None, None, None, 1, 1),
        (WHAT, "blue", None, None, None, 0, 0),
        (WHAT, None, None, None, None, 0, 0),
        (BOTH, "red, from 10.0 to 15.0 seconds", 0.5, 0.5, 0, 1, 0.75),
        (BOTH, "blue, 10-20s", 1, 1, 1, 0, 0.5),
        (BOTH, "red", 0, 0, 0, 1, 0.5),
        (BOTH, "10-20s", 1, 1, 1, 0, 0.5),
    ],
)  # fmt: skip
def test_parts_on_worked_answers(task, answer, plain, scaled, steps, words, accuracy):
    made = episode(answer)
    names = ("span_iou", "span_iou_rescaled", "span_iou_steps", "grounded_answer")
    marks = [parts.get(n).fn(made, task) for n in (*names, "temporal_accuracy")]
    wanted = [plain, scaled, steps, words, accuracy]
    for mark, value in zip(marks, wanted, strict=True):
        assert mark is value if value is None else mark == pytest.approx(value, abs=1e-9)


def test_words_of_an_answer_that_cannot_be_split_do_not_count():
    """Half an answer in which nothing can be told apart is no answer."""
    made = episode("red, 10-20s or [3, 4]")
    assert temporal.grounded_answer(made, BOTH) == 0
    assert temporal.span_iou(made, BOTH) == 0


def test_a_task_may_set_its_own_scale():
    task = dataclasses.replace(WHEN, tags={"iou_scale": [0.0, 0.5]})
    assert temporal.span_iou_rescaled(episode("[10, 12]"), task) == pytest.approx(0.4)


@pytest.mark.parametrize(("looks", "seen"), [((), 0), ((9.9,), 0), ((3.0, 10.0), 1), ((20.0,), 0)])
def test_evidence_is_a_frame_that_a_look_has_shown(looks, seen):
    """The question's own frame at 15 s lies in the span and does not count."""
    assert temporal.evidence_span(episode("x", *looks), WHEN) == seen
    assert temporal.evidence_span(episode("x"), dataclasses.replace(WHEN, evidence=())) is None


def test_tool_success_needs_a_call_that_was_carried_out():
    assert temporal.tool_success(episode("x", 1.0), WHEN) == 1
    assert temporal.tool_success(episode("x"), WHEN) == 0
    assert temporal.tool_success(episode("x", failed=True), WHEN) == 0


# ------------------------------------------------------------------------- tracks

A, B = Box(0, 0, 0.5, 0.5), Box(0.25, 0, 0.75, 0.5)


@pytest.mark.parametrize(
    ("found", "viou", "mean"),
    [
        (Track((1, 2), (A, A)), 1.0, 1.0),
        (Track((1, 2), (B, B)), 1 / 3, 1 / 3),
        (Track((1,), (A,)), 0.5, 0.5),
        (Track((1, 2, 3, 4), (A, A, A, A)), 0.5, 1.0),
        (Track((1.04, 2.04), (A, A)), 1.0, 1.0),
        (Track((1.4, 2.4), (A, A)), 0.0, 0.0),
    ],
)
def test_tracks_overlap_in_space_and_time(found, viou, mean):
    wanted = Track((1, 2), (A, A))
    assert track_viou(found, wanted) == pytest.approx(viou)
    assert track_iou(found, wanted) == pytest.approx(mean)


@pytest.mark.parametrize("times", [(2, 1), (1, 1), (-1, 1), (math.nan, 1), (1,)])
def test_tracks_need_rising_times_and_a_box_each(times):
    with pytest.raises(GeometryError, match="track needs"):
        Track(times, (A, A))


def test_the_track_reward_reads_the_answer():
    wanted = Track((1.0, 2.0), (A, A))
    clip = Clip((Image(np.zeros((8, 8, 3), np.uint8)),), (0.0,))
    task = Task(id="t", prompt=(clip, "follow it"), reference=Tracks(wanted))
    said = write_track(Track((1.0,), (A,)), Convention(), original=clip.size)
    assert parts.get("track_viou").fn(episode(said), task) == pytest.approx(0.5)
    assert parts.get("track_viou").fn(episode("there"), task) == 0
    assert parts.get("track_viou").fn(episode(said), WHEN) is None


# -------------------------------------------------------------------------- DGRPO


def test_the_group_weight_cancels_in_the_wrong_place_and_acts_in_the_default_one():
    """VITAL's weight on the returns of an estimator that divides by the deviation does nothing."""
    returns, believed = [3.0, 2.0, 2.0, 1.4], [True] * 4
    plain = weighted_advantages(np.array(returns), believed, "grpo", {}, WeightSpec())

    def with_weight(estimator, placement):
        spec = WeightSpec("difficulty", placement)
        return weighted_advantages(np.array(returns), believed, estimator, {}, spec)

    wrong = with_weight("grpo", Placement.BEFORE)
    assert np.allclose(wrong, plain, atol=1e-5)
    right = with_weight("grpo", Placement.AFTER)
    assert np.allclose(right, 0.5 * plain)
    centred = weighted_advantages(np.array(returns), believed, "dr_grpo", {}, WeightSpec())
    assert np.allclose(with_weight("dr_grpo", Placement.BEFORE), 0.5 * centred)
    with pytest.raises(RecipeError, match="does nothing"):
        check_credit(CreditSpec(), "grpo", {}, WeightSpec("difficulty", Placement.BEFORE))
