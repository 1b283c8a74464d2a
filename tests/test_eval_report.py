"""Reports: worked intervals, what is counted and what is kept out."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.eval.attempt import Attempt
from vtool.eval.compare import compare_attempts
from vtool.eval.report import summarise, to_markdown

from vtool.intervals import permutation, sign_flip_interval, wilson
from vtool.record import StopReason


def attempt(task: str, correct: float, **changes) -> Attempt:
    base = Attempt(
        task_id=task,
        attempt=0,
        tags={},
        correct=correct,
        stop=StopReason.ANSWERED,
        calls=1,
        valid_calls=1,
        turns=2,
        tokens=100,
        iou=None,
        looked=False,
    )
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        # Worked by hand with z = 1.96: Newcombe 1998, table I, method 3, cases 81/263 and 15/148.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0 / 20, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_of_the_literature(share, n, low, high):
    got = wilson(share, n)
    assert got == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_holds_its_share(successes, n):
    share = min(1.0, successes / n)
    low, high = wilson(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    assert wilson(1 - share, n) == (pytest.approx(1 - high), pytest.approx(1 - low))


@pytest.mark.parametrize(
    ("gaps", "low", "high"),
    [
        # Of six the least subset means are the single values: 2 of 64 sign patterns lie outside.
        ([3.0, 1.0, 2.0, 6.0, 5.0, 4.0], 1.0, 6.0),
        # Of eight the sixth from either end: 1, 1.5, 2, 7/3, 2.5, 3 and 128, 96, 80, ...
        ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], 3.0, 208 / 3),
        ([1.0] * 5, -math.inf, math.inf),
        ([], -math.inf, math.inf),
    ],
)
def test_sign_flip_intervals_of_few(gaps, low, high):
    assert sign_flip_interval(gaps) == (pytest.approx(low), pytest.approx(high))


@given(st.lists(st.integers(-100, 100), min_size=6, max_size=9))
def test_a_sign_flip_interval_is_what_the_test_does_not_refuse(cents):
    gaps = [c / 100 for c in cents]
    low, high = sign_flip_interval(gaps)
    for inside in (low + 0.01 * (high - low), high - 0.01 * (high - low)):
        assert permutation([g - inside for g in gaps], range(len(gaps))) > 0.05
    for outside in (low - 0.01, high + 0.01):
        assert permutation([g - outside for g in gaps], range(len(gaps))) <= 0.05


def test_no_task_says_nothing():
    assert wilson(0.0, 0) == (0.0, 1.0)
    report = summarise([])
    assert (report.total.n, report.total.accuracy) == (0, 0.0)


def test_tasks_weigh_alike_however_often_they_were_tried():
    rows = [attempt("a", 1.0), attempt("b", 1.0), attempt("b", 0.0, attempt=1)]
    report = summarise(rows)
    assert report.total.accuracy == 0.75
    assert (report.total.n, report.total.attempts, report.k) == (2, 3, 2)
    assert report.total.best_of_k == 1.0


def test_what_broke_is_counted_apart():
    rows = [
        attempt("a", 1.0),
        attempt("b", 0.0, stop=StopReason.FAILED, error="EngineError: gone", calls=0),
    ]
    report = summarise(rows)
    assert (report.total.n, report.total.accuracy, report.broken) == (1, 1.0, 1)
    assert report.errors == {"EngineError: gone": 1}
    assert report.stops == {"answered": 1, "failed": 1}
    assert "1 attempts broke" in to_markdown([report])


def test_rates_and_overlap():
    rows = [
        attempt("a", 1.0, calls=2, valid_calls=1, iou=0.5, looked=True),
        attempt("b", 0.0, calls=0, valid_calls=0),
    ]
    total = summarise(rows).total
    assert (total.tool_rate, total.valid_call_rate, total.iou) == (0.5, 0.5, 0.5)
    assert summarise([attempt("a", 1.0, calls=0, valid_calls=0)]).total.valid_call_rate is None


def test_tags_that_are_kinds_get_a_table_and_identifiers_do_not():
    rows = [
        attempt(str(i), float(i % 2), tags={"kind": "ab"[i % 2], "layout": str(i), "one": 1})
        for i in range(20)
    ]
    report = summarise(rows)
    assert set(report.by_tag) == {"kind"}
    assert report.by_tag["kind"]["b"].accuracy == 1.0
    assert report.by_tag["kind"]["a"].n == 10


def test_markdown_escapes_what_would_break_the_table():
    rows = [attempt(str(i), 1.0, tags={"kind": "x|y" if i % 2 else "z"}) for i in range(4)]
    assert "x\\|y" in to_markdown([summarise(rows, name="n")])


def test_a_tag_that_is_another_for_every_task_sorts_nothing():
    """A hash of the picture is no kind of question, however few questions there are."""
    attempts = [
        attempt(str(i), correct=1.0, tags={"layout": f"h{i}", "kind": "ab"[i % 2]})
        for i in range(4)
        for _ in range(3)
    ]
    assert list(summarise(attempts).by_tag) == ["kind"]


@pytest.mark.parametrize(
    ("score", "low", "high"),
    # Worked by hand: of 3 alike clusters up to 1.96^2 / (3 + 1.96^2) = 0.5615 may differ.
    [(0.0, 0.0, 0.5615), (1.0, 0.4385, 1.0), (0.5, 0.2193, 0.7807)],
)
def test_a_few_answers_that_are_all_alike_make_nothing_certain(score, low, high):
    """A bootstrap of equal values has no width, and would claim what three pictures cannot."""
    rows = [attempt(str(i), score, media=(f"picture {i // 2}",)) for i in range(6)]
    total = summarise(rows).total
    assert (total.clusters, total.low, total.high) == (
        3,
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


def test_a_difference_that_is_always_the_same_is_not_certain():
    first, second = ([attempt(str(i), v) for i in range(4)] for v in (0.0, 1.0))
    found = compare_attempts(first, second)
    share = 1.959964**2 / (4 + 1.959964**2)
    assert (found.difference, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - 2 * share, abs=1e-6)
    same = compare_attempts(first, first)
    assert (same.low, same.high) == (pytest.approx(-share), pytest.approx(share))


def test_tokens_of_nothing_counted_are_not_told():
    rows = [attempt("a", 0.0, unscored="later", tools={"zoom": 1})]
    assert "tokens an attempt" not in to_markdown([summarise(rows)])
