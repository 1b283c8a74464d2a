"""Reward parts about calls, tools, cost, goals and calibration, on attempts really played."""

import math

import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from attempts import BAD_CALL, FULL, attempt, call, final, look, mark, question, scores

from vtool.geometry import Box
from vtool.message import ToolCall
from vtool.reward import Score, parts
from vtool.scoring import score_group
from vtool.task import Evidence

WANTED = (ToolCall("zoom", {"image": "image_1", "box": [0.25, 0.25, 0.5, 0.5]}),)
CALLS = question(calls=WANTED)


def test_calls_are_compared_by_what_the_toolbox_read():
    exact = attempt(CALLS, look(), final("42"))
    assert mark("call_match", exact, CALLS) == [1.0, 1.0]
    assert mark("call_toolrl", exact, CALLS) == pytest.approx(3)
    near = attempt(CALLS, look(box=(240, 240, 500, 500)), final("41"))
    assert mark("call_match", near, CALLS) == [1.0, 0.0]
    far = attempt(CALLS, look(box=(600, 600, 900, 900)), final("42"))
    assert mark("call_match", far, CALLS) == [0.75, 1.0]
    assert mark("call_toolrl", far, CALLS) == pytest.approx(1.5)
    two = attempt(CALLS, look(box=(600, 600, 900, 900)), look(), final("42"))
    assert mark("call_match", two, CALLS) == [0.0, 1.0, 1.0]
    assert mark("call_match_released", two, CALLS) == [-0.5, 1.0, 1.0]
    other = attempt(CALLS, call("read_for_tests"), final("42"))
    assert mark("call_match", other, CALLS) == [0.0, 1.0]
    soft = mark("call_match", two, CALLS, matching="transport")
    assert 0 < soft[0] < soft[1] < 1
    assert mark("call_match", exact, question()) is None


def test_refused_calls_climb_part_of_the_ladder():
    turns = (
        (look(), 4),
        (look(box=(900, 900, 100, 100)), 3),
        (call("zoom"), 2),
        (call("zom"), 1),
        (BAD_CALL, 0),
    )
    for turn, rung in turns:
        assert scores("call_ladder", question(), turn, look(), final("1")) == (rung + 4) / 2
    assert scores("call_ladder", question(), final("1")) == 0
    three = (look(), look(), look(), look(box=(900, 900, 100, 100)), final("1"))
    assert scores("call_success", question(), *three) == pytest.approx(0.875)
    assert scores("call_success", question(), *three, failed=0.0) == pytest.approx(0.75)
    assert scores("call_success", question(), final("1")) is None


def test_bonuses_are_for_calls_that_do_something_and_are_not_paid_by_the_call():
    assert scores("tool_used", question(), look(), final("1")) == 1
    assert scores("tool_used", question(), look(), look(), look(), final("1")) == 1
    assert scores("tool_used", question(), FULL, final("1")) == 0
    assert scores("tool_used", question(), look(box=(9, 9, 1, 1)), final("1")) == 0
    assert scores("tool_used", question(), final("1")) == 0
    assert scores("tool_called", question(), FULL, final("1")) == 1
    assert scores("tool_turns", question(), look(), look(), FULL, final("1")) == pytest.approx(0.2)
    assert scores("tool_turns", question(), look(), final("1"), most=0.05) == 0.05
    named = {"tools": ["zoom", "read_for_tests"]}
    assert scores("tools_used_all", question(), look(), final("1"), **named) == 0
    both = (look(), call("read_for_tests"), final("1"))
    assert scores("tools_used_all", question(), *both, **named) == 1


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (50, 0.854), (100, 0.5), (200, 0), (900, 0)])
def test_a_bonus_may_fade_with_the_step(step, factor):
    task = question()
    episode = attempt(task, look(), final("42"))
    part = parts.get("tool_turns_cosine")
    found = score_group([episode], task, [part], lambda p: Score(p, p[part.name]), step=step)
    assert found[0].total == pytest.approx(0.1 * factor, abs=1e-3)


def test_curiosity_in_both_forms():
    task = question()
    group = [attempt(task, look(), look(), look(), final("1"))]
    group += [attempt(task, final("1"), seed=i) for i in range(1, 8)]
    assert parts.get("curiosity_tool_rate").fn(group, task)[:2] == pytest.approx([0.0875, 0])
    assert parts.get("curiosity_relative").fn(group, task)[:2] == pytest.approx([0.175, 0])
    assert mark("redundancy", group[0], task) == pytest.approx(-0.1)
    assert mark("redundancy", group[1], task) == 0


def test_otc_counts_the_fewest_calls_of_right_members():
    task = question()
    right_two = attempt(task, look(), look(), final("42"))
    right_four = attempt(task, look(), look(), look(), look(), final("42"))
    wrong_none = attempt(task, final("41"))
    marks = parts.get("otc").fn([right_two, right_four, wrong_none], task)
    assert marks == pytest.approx([1, 0.866, 0], abs=1e-3)
    assert parts.get("otc").fn([wrong_none], task) == [1]
    assert mark("otc_smooth", right_two, task) == pytest.approx(0.309, abs=1e-3)


def test_the_cheaper_of_two_right_ones_wins_where_money_counts():
    task = question()
    cheap, dear = attempt(task, look(), final("42")), attempt(task, look(), look(), final("42"))
    priced = parts.get("preference_cost").set(prices={"zoom": 2.0}, preference={"money": 1.0})
    assert priced.fn([cheap, dear], task) == [1.0, 0.0]
    assert priced.fn([cheap, cheap], task) == [0.0, 0.0]
    many = parts.get("preference_cost").set(preference={"zoom": 0.5, "money": 1.0})
    assert many.fn([cheap, dear], task) == [1.0, 0.5]


def test_caps_and_economies():
    task = question()
    six = attempt(task, *[look()] * 6, final("42"), max_turns=9)
    assert mark("call_cap", six, task) == -1
    assert mark("call_cap", attempt(task, look(), final("42")), task) == 0
    assert mark("economy", six, task) == pytest.approx(1 / 6)
    assert mark("economy", attempt(task, look(), final("42")), task) == 1
    assert mark("economy_pixels", attempt(task, look(), final("42")), task) == 1
    wide = attempt(task, FULL, FULL, FULL, final("42"))
    assert mark("economy_pixels", wide, task) == pytest.approx(1 / 3)
    assert mark("economy_tokens", wide, task, free=10**6) == 1
    tokens = sum(int(c.mask().sum()) for c in wide.contexts)
    assert mark("economy_tokens", wide, task, free=tokens // 2) == pytest.approx(0.5, abs=0.01)
    assert mark("overlong", wide, task, limit=tokens, buffer=tokens) == pytest.approx(-1)
    assert mark("length_words", wide, task, target=10) == pytest.approx(0.5)


def test_goals_are_places_seen_each_once():
    places = tuple(Evidence(0, Box(x, 0.0, x + 0.2, 0.2)) for x in (0.0, 0.2, 0.4, 0.6))
    task = question(evidence=places)
    first, second = look(box=(0, 0, 200, 200)), look(box=(200, 0, 400, 200))
    episode = attempt(task, first, second, first, final("41"))
    assert mark("completion_f1", episode, task) == pytest.approx(4 / 7)
    assert mark("completion_ftrl", episode, task) == pytest.approx(1.0)
    assert mark("completion_ftrl_eval", episode, task) == pytest.approx(4 / 7)
    assert mark("completion_steps", episode, task) == pytest.approx([1, 1, 0, 0])
    told = attempt(task, first, final("42"))
    assert mark("completion_steps", told, task) == pytest.approx([1, 1 / 4])
    assert mark("completion_f1", attempt(question(evidence=()), final("42")), task) == 0
    told.verdicts.update(solved=3, goals=3)
    assert mark("completion_f1", told, task) == pytest.approx(2 * 3 / 4)


@pytest.mark.parametrize(
    ("part", "answer", "told", "want"),
    [
        ("calibration", "42", 0.8, 1.96),
        ("calibration", "41", 0.8, -0.64),
        ("calibration", "42", 0, 1.0),
        ("calibration", "41", 0, 0.0),
        ("calibration", "42", None, 1.0),
        ("calibration", "41", None, -1.0),
        ("rlcr", "42", 0, 0.0),
        ("rlcr", "41", 0, 0.0),
        ("rlcr", "42", 0.9, 0.99),
        ("brier", "42", 0.9, 0.99),
        ("brier", "41", None, 0.0),
        ("log_score", "42", 0.5, math.log(0.5)),
        ("log_score", "41", 1, math.log(0.01)),
    ],
)
def test_calibration(part, answer, told, want):
    words = "" if told is None else f"<confidence>{told}</confidence>"
    assert scores(part, question(), final(answer, words)) == pytest.approx(want)
