"""Which groups a step learns from: dynamic sampling, by name.

A filter says of a group whether it is kept. What it refuses is played anew with other tasks while
the step is collected, as often as the recipe's `refill` allows.

Traps: a filter by accuracy looks at the part that judges answers, not at the total: a group that
is all wrong but differs in format is refused all the same. A filter by deviation looks at the
total. Attempts that nobody could score count in neither.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from vtool.registry import Registry
from vtool.reward import Score

from .group_advantage import Credit, totals

Keeps = Callable[[Sequence[Score], Sequence[Credit]], bool]
"""Whether a group is kept: its scores and its credits."""


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """Which filter.

    Args:
        name: dead, accuracy, std or top_std.
        options: Of the filter.
    """

    name: str = "dead"
    options: Mapping[str, Any] = field(default_factory=dict)


filters: Registry[Callable[..., Any]] = Registry("group filter")
"""Functions of scores and credits with keyword options; `top_std` sees a whole step instead."""


def group_filter(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a filter under a name; it is returned unchanged."""

    def make(fn: Callable[..., Any]) -> Callable[..., Any]:
        filters.add(name, fn)
        return fn

    return make


@group_filter("dead")
def not_dead(scores: Sequence[Score], credits: Sequence[Credit]) -> bool:
    """Somebody gets credit."""
    return not all(c.dead for c in credits)


@group_filter("accuracy")
def by_accuracy(
    scores: Sequence[Score],
    credits: Sequence[Credit],
    *,
    part: str = "answer",
    low: float = 0.0,
    high: float = 1.0,
    gate: str = "",
) -> bool:
    """The mean of a part lies strictly between two bounds.

    Args:
        scores: Of the group.
        credits: Not looked at.
        part: Which part.
        low: Its mean must lie above it,
        high: and below it.
        gate: A part without which the other counts 0: TAPO's malformed attempts are wrong.

    Source: DAPO (arXiv 2503.14476) section 3.2, as TAPO uses it: groups that are all right or
    all wrong are refused.
    """
    rows = [(s.parts.get(part), s.parts.get(gate) if gate else 1.0) for s in scores]
    values = [0.0 if passed == 0 else float(m) for m, passed in rows if isinstance(m, int | float)]
    return bool(values) and low < sum(values) / len(values) < high


@group_filter("std")
def by_std(
    scores: Sequence[Score], credits: Sequence[Credit], *, least: float = 0.1, part: str = ""
) -> bool:
    """The deviation (n-1) of the totals, or of a part, is at least so much.

    Source: ToolOrchestra drops groups below 0.1.
    """
    return deviation(scores, part) >= least


@group_filter("top_std")
def top_std(groups: Sequence[Sequence[Score]], *, share: float = 0.75) -> list[bool]:
    """The share of a step's groups whose totals differ most.

    The number kept is rounded up; of equal deviations the earlier group stays.

    Source: SPEAR keeps the 75 % of groups with the largest deviation of rewards.
    """
    spread = [deviation(scores) for scores in groups]
    count = int(np.ceil(share * len(groups)))
    order = sorted(range(len(groups)), key=lambda i: (-spread[i], i))
    best = set(order[:count])
    return [i in best for i in range(len(groups))]


def deviation(scores: Sequence[Score], part: str = "") -> float:
    """Sample deviation of what may be believed; 0 for fewer than two."""
    if part:
        marks = [s.parts.get(part) for s in scores]
        values = np.array([float(m) for m in marks if isinstance(m, int | float)])
    else:
        returns, believed = totals(scores)
        values = returns[believed]
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def make_filter(spec: FilterSpec) -> tuple[Keeps, Callable[..., list[bool]] | None]:
    """What is asked of each group, and what is asked of the step at its end.

    Raises:
        UnknownName: No such filter.
    """
    fn = filters.get(spec.name)
    if next(iter(inspect.signature(fn).parameters)) == "groups":
        return not_dead, partial(fn, **spec.options)
    return partial(fn, **spec.options), None
