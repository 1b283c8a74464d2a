"""A claim in miniature: two methods, one ground, what should differ, and what seeds say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vtool.intervals import bootstrap, mean, permutation

from .trial import Trial

Row = Mapping[str, Any]


class Expected(StrEnum):
    """How the first method's number should lie to the second's."""

    MORE = "more"
    LESS = "less"
    NO_LESS = "no less"
    """By more than `MARGIN`."""


class Verdict(StrEnum):
    """What the seeds say."""

    SHOWN = "shown"
    REFUTED = "refuted"
    """The opposite is shown."""
    OPEN = "not shown"


LEVEL = 0.05
MARGIN = 0.03
"""Accuracy that counts as equal."""


def accuracy(row: Row) -> float:
    """Share of held-out questions that are right."""
    return float(row["held_out"]["accuracy"])


def calls(row: Row) -> float:
    """Calls a held-out question."""
    return float(row["held_out"]["calls"])


def needless(row: Row) -> float:
    """Calls a question that the first look answers."""
    return float(row["held_out"]["kinds"]["0"]["calls"])


def needed(row: Row) -> float:
    """Calls a question that needs one look."""
    return float(row["held_out"]["kinds"]["1"]["calls"])


def learning_calls(row: Row) -> float:
    """Sampled turns beyond one an attempt, while learning: shared turns count once."""
    return float(row["turns"] - row["episodes"]) / max(1, row["episodes"])


@dataclass(frozen=True, slots=True)
class Wish:
    """One number that should differ.

    Args:
        measure: Of a row.
        expected: Of the first method, against the second.
    """

    measure: Callable[[Row], float]
    expected: Expected


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says of a method.

    Args:
        name: Short.
        says: The sentence.
        source: Whose.
        ground: Where it is tried.
        first: The method.
        second: What it is held against.
        wishes: All of them must hold.
        beside: Ground of the second method, where it is another one with the same held-out
            questions.
    """

    name: str
    says: str
    source: str
    ground: str
    first: str
    second: str
    wishes: tuple[Wish, ...]
    beside: str | None = None

    @property
    def sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Ground and method of both sides."""
        return (self.ground, self.first), (self.beside or self.ground, self.second)

    def trials(self, seeds: Sequence[int], tokens: int) -> list[Trial]:
        """What must be played."""
        return [Trial(ground, m, s, tokens) for s in seeds for ground, m in self.sides]


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one wish.

    Args:
        claim: Whose.
        wish: Which.
        first: Mean of the first method.
        second: Mean of the second.
        low: 95 % bootstrap interval of the difference, over seeds.
        high: Its other end.
        p: Exact paired sign-flip test over seeds.
        seeds: How many seeds both were played from.
        verdict: What that says.
    """

    claim: Claim
    wish: Wish
    first: float
    second: float
    low: float
    high: float
    p: float
    seeds: int
    verdict: Verdict


def findings(claim: Claim, rows: Sequence[Row]) -> list[Finding]:
    """What the seeds say that both methods were played from; nothing where there are none."""
    first, second = (by_seed(ground, method, rows) for ground, method in claim.sides)
    seeds = sorted(set(first) & set(second))
    return [found(claim, wish, [(first[s], second[s]) for s in seeds]) for wish in claim.wishes]


def by_seed(ground: str, method: str, rows: Sequence[Row]) -> dict[int, Row]:
    """Rows that have numbers."""
    mine = (r for r in rows if (r["ground"], r["method"]) == (ground, method))
    return {int(r["seed"]): r for r in mine if r["error"] is None}


def found(claim: Claim, wish: Wish, pairs: Sequence[tuple[Row, Row]]) -> Finding:
    """The paired test of one number, by seed."""
    xs, ys = ([wish.measure(pair[i]) for pair in pairs] for i in (0, 1))
    gaps = [x - y for x, y in zip(xs, ys, strict=True)]
    whose = range(len(gaps))
    low, high = bootstrap(gaps, whose) if len(gaps) > 1 else (float("-inf"), float("inf"))
    p = permutation(gaps, whose) if gaps else 1.0
    verdict = judged(wish.expected, mean(gaps), low, p)
    return Finding(claim, wish, mean(xs), mean(ys), low, high, p, len(gaps), verdict)


def judged(expected: Expected, gap: float, low: float, p: float) -> Verdict:
    """The verdict on one wish."""
    if expected is Expected.NO_LESS:
        if low >= -MARGIN:
            return Verdict.SHOWN
        return Verdict.REFUTED if p <= LEVEL and gap < -MARGIN else Verdict.OPEN
    if p > LEVEL:
        return Verdict.OPEN
    return Verdict.SHOWN if (gap > 0) is (expected is Expected.MORE) else Verdict.REFUTED
