"""Worked numbers of the reward formulas, and of the published combines."""

import importlib
import json
import math
from pathlib import Path

import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from hypothesis import given
from hypothesis import strategies as st
from vtool.rl.rewards.call_kernels import (
    PlainCall,
    matched,
    similarity,
    toolrl,
    transported,
)
from vtool.rl.rewards.checklist import Item, checklist_scores
from vtool.rl.rewards.points import LEVELS, ladder_score, nndc

from vtool.assignment import best_assignment, greedy_assignment
from vtool.errors import RecipeError
from vtool.reward import Unscored, combines

ROWS = json.loads(
    (Path(__file__).parent / "golden" / "mechanisms_rewards.json").read_text(encoding="utf-8")
)["rows"]


@pytest.mark.parametrize("row", ROWS, ids=[r["id"] for r in ROWS])
def test_worked_numbers(row):
    module, _, name = row["call"].partition(":")
    full = module if module.startswith("vtool.") else f"vtool.rl.rewards.{module}"
    found = getattr(importlib.import_module(full), name)(**row["inputs"])
    assert found == pytest.approx(row["expected"], abs=1e-6)


ZOOM = PlainCall("zoom", {"image": 1, "box": "a"})


@pytest.mark.parametrize(
    ("given_", "score"),
    [
        (ZOOM, 1.0),
        (PlainCall("zoom", {"image": 1, "box": "b"}), 0.75),
        (PlainCall("zoom", {"image": 1}), (1 + 0.5 + 1) / 4),
        (PlainCall("crop", {"image": 1, "box": "a"}), 0.0),
        (PlainCall("zoom", {"image": True, "box": "a"}), 0.75),
    ],
)
def test_matchtir_similarity(given_, score):
    assert similarity(given_, ZOOM) == pytest.approx(score)


def test_similarity_of_calls_without_arguments():
    assert similarity(PlainCall("f", {}), PlainCall("f", {})) == 1


@pytest.mark.parametrize(
    ("calls", "score"),
    [
        ([ZOOM], 3.0),
        ([PlainCall("zoom", {"image": 1, "box": "b"})], 1.5),
        ([PlainCall("crop", {"image": 1, "box": "a"})], -3.0),
        ([], -3.0),
        ([ZOOM, ZOOM], 6 * (0.5 + 3) / 4 - 3),
    ],
)
def test_toolrl_decomposed(calls, score):
    assert toolrl(calls, [ZOOM]) == pytest.approx(score)
    assert toolrl(calls, []) == 0


def test_greedy_is_not_the_best_matching():
    scores = [[0.9, 0.8], [0.8, 0.0]]
    assert sum(matched(scores, greedy=True)) == pytest.approx(0.9)
    assert sum(matched(scores)) == pytest.approx(1.6)
    assert greedy_assignment(scores) == [(0, 0), (1, 1)]
    assert best_assignment(scores) == [(0, 1), (1, 0)]


matrices = st.integers(1, 5).flatmap(
    lambda m: st.lists(st.lists(st.floats(0, 1), min_size=m, max_size=m), min_size=1, max_size=5)
)


@given(matrices)
def test_the_matching_is_the_best_of_all(scores):
    """Against every permutation."""
    from itertools import permutations

    n, m = len(scores), len(scores[0])
    wide = scores if n <= m else [list(c) for c in zip(*scores, strict=True)]
    rows, columns = len(wide), len(wide[0])
    best = max(
        math.fsum(wide[r][c] for r, c in enumerate(p)) for p in permutations(range(columns), rows)
    )
    pairs = best_assignment(scores)
    assert len(pairs) == min(n, m)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == min(n, m)
    assert math.fsum(scores[r][c] for r, c in pairs) == pytest.approx(best)


@given(matrices)
def test_transport_spreads_one_unit_and_never_beats_the_best_pair(scores):
    shares = transported(scores)
    assert all(s >= 0 for s in shares)
    assert math.fsum(shares) <= max(max(row) for row in scores) + 1e-6


def test_transport_of_one_call_to_one_is_its_score():
    assert transported([[0.75]]) == pytest.approx([0.75])
    assert transported([[1.0, 0.0], [0.0, 1.0]]) == pytest.approx([0.5, 0.5], abs=1e-3)
    assert transported([]) == []


@given(st.dictionaries(st.sampled_from(LEVELS), st.booleans()), st.sampled_from(LEVELS))
def test_one_more_right_level_never_lowers_the_ladder(right, level):
    assert ladder_score({**right, level: True}) >= ladder_score(right)


@given(st.floats(0, 1.41), st.floats(0, 1.41))
def test_nearer_is_never_worth_less(a, b):
    assert (nndc(a) >= nndc(b)) == (a <= b) or nndc(a) == nndc(b)


def test_checklist_items_count_once_and_wait():
    a, b, c = Item("a", "?", 0.5), Item("b", "?", 0.3), Item("c", "?", 0.2)
    assert checklist_scores([a, b, c], [{"a"}, {"a", "c"}]) == [0.5, 0.2]
    late = Item("c", "?", 0.2, after=("b",))
    assert checklist_scores([a, b, late], [{"c"}, {"b", "c"}]) == [0.0, 0.5]
    must = Item("a", "?", 0.5, required=True)
    assert checklist_scores([must, b], [{"b"}, {"a"}]) == [0.3, 0.0]
    assert checklist_scores([must, b], [{"a"}, {"b"}]) == [0.5, 0.3]


def total(name, parts, **options):
    return combines.get(name)(**options)(parts).total


DEEPEYES = [
    ({"answer": 1, "format_penalty": 0, "tool_used": 1}, 2.0),
    ({"answer": 1, "format_penalty": 0, "tool_used": 0}, 0.8),
    ({"answer": 0, "format_penalty": 0, "tool_used": 1}, 0.0),
    ({"answer": 0, "format_penalty": -1, "tool_used": 1}, -0.2),
]
DEEPEYES_V2 = [
    ({"answer": 1, "format_short": 1, "tool_called": 0}, 1.0),
    ({"answer": 1, "format_short": 1, "tool_called": 1}, 0.92),
    ({"answer": 0, "format_short": 1, "tool_called": 1}, 0.2),
]
OPHIUCHUS = [
    ({"mask_iou_last": 0.81, "format_strict": 1, "tool_used": 1}, 6.0),
    ({"mask_iou_last": 0.80, "format_strict": 1, "tool_used": 1}, 5.0),
    ({"mask_iou_last": 0.3, "format_strict": 1, "tool_used": 1}, 1.0),
]
ADAREASONER = [
    ({"format": 1, "answer": 1, "call_ladder": 0}, 8.0),
    ({"format": 1, "answer": 1, "call_ladder": 4}, 8.0),
    ({"format": 1, "answer": 0, "call_ladder": 3}, 3.0),
    ({"format": 0, "answer": 1, "call_ladder": 4}, 0.0),
]
TOOL_STAR = [
    ({"format": 1, "answer_f1": 0.5, "tools_used_all": 1}, 0.6),
    ({"format": 1, "answer_f1": 0.0, "tools_used_all": 1}, 0.0),
    ({"format": 0, "answer_f1": 1.0, "tools_used_all": 1}, -1.0),
    ({"format": 1, "answer_f1": 1.0, "tools_used_all": 1}, 1.1),
]
CURIOSITY = [
    ({"format": 1, "answer": 1, "curiosity_tool_rate": 0.0875, "redundancy": -0.1}, 0.9875),
    ({"format": 1, "answer": 0, "curiosity_tool_rate": 0.0875, "redundancy": -0.1}, 0.0),
]
SPEC_O3 = [({"answer": 1, "format_penalty": -1}, 0.8), ({"answer": 0, "format_penalty": 0}, 0.0)]
SIGNED = [
    ({"format": 1, "answer": 1}, 1.0),
    ({"format": 1, "answer": 0}, -1.0),
    ({"format": 0, "answer": 1}, -1.0),
]
LADDER = {"levels": {"city": 4, "state": 2, "country": 1}}
TABLE = [
    *[("conditional_bonus", {}, *row) for row in DEEPEYES],
    *[("discounted", {}, *row) for row in DEEPEYES_V2],
    ("discounted", {"discount": 0}, DEEPEYES_V2[1][0], 1.0),
    *[("stepped", {}, *row) for row in OPHIUCHUS],
    *[("asymmetric", {}, *row) for row in ADAREASONER],
    (
        "asymmetric",
        {"right": 3.0, "wrong": {"answer": 0.5, "call_ladder": 0.25}},
        {"format": 1, "answer": 0.4, "call_ladder": 2},
        0.7,
    ),
    *[("multi_bonus", {}, *row) for row in TOOL_STAR],
    ("multi_bonus", {"most": 1.0}, TOOL_STAR[3][0], 1.0),
    *[("gated_curiosity", {}, *row) for row in CURIOSITY],
    *[
        (
            "conditional_bonus",
            {"base": {"answer": 1.0, "format_penalty": 0.2}, "bonus": {"x": 0}},
            {**parts, "x": 0},
            want,
        )
        for parts, want in SPEC_O3
    ],
    *[("signed", {}, *row) for row in SIGNED],
    ("signed", {"gate": None}, {"answer": 1}, 1.0),
    ("ladder", LADDER, {"city": 1, "state": 0, "country": 0}, 4.0),
    ("ladder", LADDER, {"city": 0, "state": 1, "country": 1}, 2.0),
    ("ladder", LADDER, {"city": 0, "state": 0, "country": 0}, 0.0),
    ("product", {"factors": ["otc"]}, {"answer": 1, "otc": 0.866}, 0.866),
    ("product", {"factors": ["otc"]}, {"answer": 0, "otc": 0.866}, 0.0),
    ("gated", {"weights": {"answer": 2.0}, "closed": -1.0}, {"format": 0, "answer": 1}, -1.0),
    ("gated", {"weights": {"answer": 2.0}}, {"format": 1, "answer": 1}, 2.0),
    ("turn_sum", {}, {"call_match": [0.75, 1.0]}, 1.75),
]


@pytest.mark.parametrize(("name", "options", "parts", "want"), TABLE)
def test_published_combines(name, options, parts, want):
    assert total(name, parts, **options) == pytest.approx(want)


@pytest.mark.parametrize(("step", "want"), [(0, 1.5), (75, 1.0), (150, 0.5), (400, 0.5)])
def test_weights_may_follow_the_step(step, want):
    weights = {
        "answer": 0.5,
        "format": {"kind": "linear", "start": 1.0, "end": 0.0, "until": 150},
    }
    parts = {"answer": 1.0, "format": 1.0, "training_step": float(step)}
    assert total("scheduled", parts, weights=weights) == pytest.approx(want)


LOST = (
    "answer",
    "answer_f1",
    "call_ladder",
    "call_match",
    "city",
    "country",
    "curiosity_tool_rate",
    "format",
    "format_penalty",
    "format_short",
    "format_strict",
    "mask_iou_last",
    "otc",
    "redundancy",
    "state",
    "tool_called",
    "tool_used",
    "tools_used_all",
    "training_step",
)


def test_an_unknown_schedule_is_told():
    with pytest.raises(RecipeError, match="did you mean 'cosine'"):
        total("scheduled", {"a": 1.0, "training_step": 0.0}, weights={"a": {"kind": "cosin"}})


@pytest.mark.parametrize(
    "name", [n for n in combines.names() if n not in ("hierarchy", "weighted")]
)
def test_what_a_judge_could_not_say_is_no_number(name):
    options = {"ladder": LADDER, "scheduled": {"weights": {"answer": 1.0}}}.get(name, {})
    lost = dict.fromkeys(LOST, Unscored("the judge is down"))
    assert isinstance(total(name, lost, **options), Unscored)
