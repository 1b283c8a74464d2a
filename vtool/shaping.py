"""Small curves: steps and stretches of a value, schedules over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vtool.errors import RecipeError, nearest


def stepped(value: float, thresholds: Sequence[float], points: Sequence[float]) -> float:
    """Points of the highest threshold that a value exceeds; 0 where it exceeds none.

    Raises:
        ValueError: Unequal lengths, or thresholds that do not rise.
    """
    if len(thresholds) != len(points) or list(thresholds) != sorted(set(thresholds)):
        raise ValueError(
            f"expected rising thresholds with one number of points each, got {list(thresholds)} "
            f"and {list(points)}"
        )
    reached = [p for t, p in zip(thresholds, points, strict=True) if value > t]
    return float(reached[-1]) if reached else 0.0


def rescaled(value: float, low: float, high: float) -> float:
    """A value stretched so that `low` is 0 and `high` is 1, clamped.

    Raises:
        ValueError: `low` is not below `high`.
    """
    if not low < high:
        raise ValueError(f"rescaling needs low < high, got {low} and {high}")
    return min(1.0, max(0.0, (value - low) / (high - low)))


def cosine(step: float, until: float) -> float:
    """From 1 at step 0 to 0 at `until` and after, along half a cosine. Source: SPEAR."""
    return 0.0 if step >= until else (math.cos(math.pi * step / until) + 1) / 2


def warmup_cosine(step: float, until: float) -> float:
    """From 0 at step 0 to 1 at `until` and after. Source: SPEAR's replay loss weight."""
    return 1.0 - cosine(step, until)


def linear(step: float, start: float, end: float, until: float) -> float:
    """From `start` at step 0 to `end` at `until` and after. Source: ToolRL (over 150 steps)."""
    return end if step >= until else start + (end - start) * step / until


def stages(step: float, borders: Sequence[float], values: Sequence[float]) -> float:
    """The value of the stage that a step lies in. Source: ToolRL, two stages, border 30.

    Raises:
        ValueError: There is not one value more than borders.
    """
    if len(values) != len(borders) + 1:
        raise ValueError(
            f"{len(borders)} borders need {len(borders) + 1} values, not {len(values)}"
        )
    return float(values[sum(step >= b for b in borders)])


SCHEDULES = {
    "cosine": cosine,
    "warmup_cosine": warmup_cosine,
    "linear": linear,
    "stages": stages,
}
"""Schedules by name; each takes the step and its settings."""


def scheduled(step: float, schedule: Mapping[str, Any]) -> float:
    """The value of a schedule such as `{kind: linear, start: 1.0, end: 0.0, until: 150}`.

    Raises:
        RecipeError: No such schedule, or settings that it does not have.
    """
    options = dict(schedule)
    kind = str(options.pop("kind", ""))
    if kind not in SCHEDULES:
        raise RecipeError(
            f"no schedule {kind!r}{nearest(kind, SCHEDULES)}; there is {', '.join(SCHEDULES)}"
        )
    curve: Any = SCHEDULES[kind]
    try:
        return float(curve(step, **options))
    except (TypeError, ValueError) as err:
        raise RecipeError(f"schedule {dict(schedule)}: {err}") from err
