"""Scores: the hierarchy's order, group scope, unscored episodes, metrics."""

import math

import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from hypothesis import given
from hypothesis import strategies as st

from vtool.combine import hierarchy, weighted
from vtool.errors import RecipeError, UnknownName, VToolError
from vtool.metrics import exact_match, normalize_answer
from vtool.record import Episode, StopReason
from vtool.reward import RewardPart, Scope, Site, Unscored, combines, parts
from vtool.scoring import score_group
from vtool.task import Answer, Task

share = st.floats(0, 1, allow_nan=False)
TASK = Task(id="t", prompt=("q",), reference=Answer(("7",)))


@given(share, share, share, st.floats(0, 0.99), st.sampled_from([1.0, 0.5, 0.1]))
def test_process_never_lifts_a_worse_outcome_over_a_better_one(p, q, better, height, step):
    combine = hierarchy(process={"evidence": 1.0}, share=height, step=step)
    worse = max(0.0, better - step)
    if math.floor(better / step + 1e-9) == math.floor(worse / step + 1e-9):
        return
    high = combine({"format": 1.0, "answer": better, "evidence": p}).total
    low = combine({"format": 1.0, "answer": worse, "evidence": q}).total
    assert high > low


def test_the_gate_closes_everything_above_it():
    combine = hierarchy(process={"evidence": 1.0})
    assert combine({"format": 0.0, "answer": 1.0, "evidence": 1.0}).total == 0
    assert combine({"format": 1.0, "answer": 0.0, "evidence": 0.0}).total == pytest.approx(0.1)
    assert combine({"format": 1.0, "answer": 1.0, "evidence": 0.4}).total == pytest.approx(1.3)


def test_parts_that_do_not_apply_are_left_out_of_the_mean():
    combine = hierarchy(process={"evidence": 1.0, "economy": 1.0})
    with_target = combine({"format": 1.0, "answer": 1.0, "evidence": 0.0, "economy": 1.0})
    without = combine({"format": 1.0, "answer": 1.0, "evidence": None, "economy": 1.0})
    assert with_target.total == pytest.approx(1.35)
    assert without.total == pytest.approx(1.6)


@pytest.mark.parametrize("bad", [{"share": 1.0}, {"share": -0.1}, {"step": 0}, {"gate_value": -1}])
def test_a_hierarchy_that_would_break_its_order_is_refused(bad):
    with pytest.raises(RecipeError):
        hierarchy(**bad)


def test_weighted_sums_episode_parts_and_credits_turns():
    score = weighted({"answer": 1.0, "turn_format": 0.5})({"answer": 1.0, "turn_format": [1.0, 0]})
    assert score.total == 1.0
    assert score.turns == {0: 0.5, 1: 0.0}


@pytest.mark.parametrize("combine", [weighted({"anwser": 1.0}), hierarchy(process={"anwser": 1.0})])
def test_a_misspelt_part_is_told_and_never_weighs_nothing(combine):
    with pytest.raises(RecipeError, match=r"anwser.*answer"):
        combine({"format": 1.0, "answer": 1.0})


def part(name, fn, scope=Scope.ATTEMPT, site=Site.EPISODE):
    return RewardPart(name, site, scope, fn)


def episodes(*stops):
    return [Episode(task_id="t", stop=s) for s in stops]


def test_our_failures_are_unscored_and_unseen_by_group_parts():
    seen = []

    def judge(alive, task):
        seen.append(len(alive))
        return [1.0] * len(alive)

    group = episodes(StopReason.ANSWERED, StopReason.FAILED, StopReason.MAX_TURNS)
    scores = score_group(group, TASK, [part("g", judge, Scope.GROUP)], weighted({"g": 1.0}))
    assert seen == [2]
    assert [s.total for s in scores][::2] == [1.0, 1.0]
    assert isinstance(scores[1].total, Unscored)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_marks_that_are_no_numbers_mask_the_episode(value):
    score = score_group(
        episodes(StopReason.ANSWERED), TASK, [part("p", lambda e, t: value)], weighted({"p": 1.0})
    )[0]
    assert isinstance(score.total, Unscored)


def test_wrong_counts_and_foreign_episodes_are_errors():
    group = episodes(StopReason.ANSWERED)
    with pytest.raises(VToolError, match="2 marks for 1 episodes"):
        score_group(group, TASK, [part("p", lambda e, t: [1, 1], Scope.GROUP)], weighted({}))
    with pytest.raises(VToolError, match="another"):
        score_group([Episode(task_id="another")], TASK, [], weighted({}))


def test_names_lead_to_parts_and_unknown_names_to_the_nearest():
    assert {"format", "answer", "evidence_iou", "economy", "curiosity_tool_rate"} <= set(parts)
    assert combines.get("hierarchy") is hierarchy
    with pytest.raises(UnknownName, match="evidence_iou"):
        parts.get("evidence_iuo")


@pytest.mark.parametrize(
    ("given", "accepted", "score"),
    [
        ("7", ("7",), 1),
        (" Seven. ", ("seven",), 1),
        ("The red one", ("red one",), 1),
        ("1,000", ("1000",), 1),
        ("3.0", ("3",), 1),
        ("15", ("1.5",), 0),
        ("-3", ("3",), 0),
        ("50%", ("50",), 0),
        ("７", ("7",), 1),
        (None, ("",), 0),
        ("x" * 1001, ("x" * 1001,), 0),
    ],
)
def test_exact_match(given, accepted, score):
    assert exact_match(given, accepted) == score


@pytest.mark.parametrize(("given", "accepted"), [("", "A"), ("the", "A"), ("", "?"), ("an", "")])
def test_what_normalises_to_nothing_is_not_all_the_same(given, accepted):
    assert exact_match(given, [accepted]) == 0
    assert exact_match(accepted or "x", [accepted or "x"]) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("-3 °C", "3 °C", False),
        ("$-5", "5", False),
        ("$5", "5", True),
        ("1.5 m", "1,5 m", False),
        ("1.50 m", "1.5 m", True),
        ("1,000 kg", "1000 kg", True),
        ("3/4", "3-4", False),
        ("C++", "C", False),
        ("c#", "C#", True),
        ("\u22125", "-5", True),
        ("50 %", "50%", True),
        ("50%", "50", False),
        ("(42)", "42", True),
        ("It's .5!", "it s 0.5", True),
        ("2020-01-02", "2020 01 02", False),
        ("well-known", "well known", True),
        ("+7", "7", True),
        ("v-2", "v 2", True),
    ],
)
def test_what_makes_another_number_makes_another_answer(one, other, same):
    assert exact_match(one, [other]) == float(same)


def test_normalising_is_idempotent():
    for text in ("The  Red-One!", "1,234.50", "Ünïcode", ""):
        assert normalize_answer(normalize_answer(text)) == normalize_answer(text)
