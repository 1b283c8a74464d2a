"""A claim in miniature: two methods, one ground, what should differ, and what seeds say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vtool.intervals import mean, permutation, sign_flip_interval

from .trial import Trial

Row = Mapping[str, Any]


class Expected(StrEnum):
    """How the first method's number should lie to the second's."""

    MORE = "more"
    LESS = "less"
    NO_LESS = "no less"
    """Not by `MARGIN`: that it is as far below is refused, not merely unproven."""


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
    # The turns of refused groups are among those sampled; rows of old tell no such attempts.
    attempts = row.get("played", row["episodes"])
    return float(row["turns"] - attempts) / max(1, attempts)


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
        low: 95 % interval of the difference, over seeds: what the test does not refuse.
        high: Its other end.
        p: Exact paired sign-flip test over seeds: of no difference, or of one of the margin.
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
    low, high = sign_flip_interval(gaps)
    beyond = [g + margin_of(wish.expected) for g in gaps]
    p = permutation(beyond, range(len(beyond)))
    verdict = judged(wish.expected, mean(beyond), p)
    return Finding(claim, wish, mean(xs), mean(ys), low, high, p, len(gaps), verdict)


def margin_of(expected: Expected) -> float:
    """How far below the second number the first may lie."""
    return MARGIN if expected is Expected.NO_LESS else 0.0


def judged(expected: Expected, beyond: float, p: float) -> Verdict:
    """The verdict on one wish.

    Args:
        expected: Of the first number.
        beyond: Mean difference, counted from what the margin allows.
        p: That it is not 0.
    """
    if p > LEVEL:
        return Verdict.OPEN
    return Verdict.REFUTED if (beyond > 0) is (expected is Expected.LESS) else Verdict.SHOWN
