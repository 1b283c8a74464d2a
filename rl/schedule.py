"""Coefficients that change over a run: pure functions of the step, by name.

A schedule has no state, so a resumed run needs none of it. What it moves is a key of the recipe,
written with dots: the recipe of a step is the recipe with those values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vtool.config import build, to_plain
from vtool.errors import RecipeError, UnknownName

if TYPE_CHECKING:
    from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """How one number changes.

    Args:
        name: constant, linear, cosine or steps.
        start: Value at step 0.
        end: Value from step `over` on (linear, cosine).
        over: Steps that the change takes (linear, cosine).
        at: For `steps`: value by the first step at which it holds, such as ``{0: 3, 100: 2}``.
    """

    name: str = "constant"
    start: float = 0.0
    end: float = 0.0
    over: int = 0
    at: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise RecipeError(str(UnknownName("schedule", self.name, SCHEDULES)))
        if self.name in ("linear", "cosine") and self.over < 1:
            raise RecipeError(f"a {self.name} schedule needs over >= 1 steps, not {self.over}")
        if (self.name == "steps") is not bool(self.at) or (self.at and 0 not in self.at):
            raise RecipeError(
                f"schedule {self.name} with at={dict(self.at)}: `at` goes with `steps`, and says "
                "what holds from step 0 on"
            )

    def value(self, step: int) -> float:
        """The number at a step, counted from 0."""
        return SCHEDULES[self.name](self, step)


def constant(spec: ScheduleSpec, step: int) -> float:
    """`start` always."""
    return spec.start


def linear(spec: ScheduleSpec, step: int) -> float:
    """From `start` to `end` in equal steps."""
    share = min(1.0, step / spec.over)
    return spec.start + (spec.end - spec.start) * share


def cosine(spec: ScheduleSpec, step: int) -> float:
    """From `start` to `end` along half a cosine.

    With start 1 and end 0 this is ``(cos(pi t / T) + 1) / 2``, by which SPEAR lets its tool bonus
    go; with 0 and 1 it is ``(1 - cos(pi t / T)) / 2``, by which its replay loss comes.
    """
    share = (1 - math.cos(math.pi * min(1.0, step / spec.over))) / 2
    return spec.start + (spec.end - spec.start) * share


def steps(spec: ScheduleSpec, step: int) -> float:
    """The value of the last step in `at` that is not later."""
    return spec.at[max(s for s in spec.at if s <= step)]


SCHEDULES: dict[str, Callable[[ScheduleSpec, int], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "steps": steps,
}


def at_step(recipe: Recipe, step: int) -> Recipe:
    """The recipe as it holds in a step; the recipe itself where nothing is scheduled.

    Raises:
        RecipeError: A schedule moves a key that is not there or must not move.
    """
    if not recipe.schedules:
        return recipe
    plain = to_plain(recipe)
    assert isinstance(plain, dict)
    for key, spec in recipe.schedules.items():
        plain = _with(plain, key, spec.value(step))
    return build(type(recipe), {**plain, "schedules": {}}, f"recipe {recipe.name} at step {step}")


MOVABLE = ("learner.loss.", "reward.options.", "estimator_options.")
"""Beginnings of keys that a schedule may move."""


def check_schedules(recipe: Recipe) -> None:
    """Refuse keys that nothing reads anew in every step, and keys that lead nowhere.

    Raises:
        RecipeError: Names what may be scheduled, or what does not fit.
    """
    for key in recipe.schedules:
        if not key.startswith(MOVABLE):
            raise RecipeError(
                f"schedules: {key!r} cannot be scheduled; what begins with one of "
                f"{', '.join(MOVABLE)} can (the learning rate has learner.schedule, the number of "
                "demonstrations curriculum demo_anneal)"
            )
    at_step(recipe, 0)


def _with(body: Mapping[str, Any], key: str, value: float) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    if not rest:
        whole = isinstance(body.get(name), int) and float(value).is_integer()
        return {**body, name: int(value) if whole else value}
    inner = body.get(name)
    if not isinstance(inner, Mapping):
        raise RecipeError(f"schedules: {key!r} leads nowhere in the recipe")
    return {**body, name: _with(inner, rest, value)}


def scheduled(recipe: Recipe, step: int) -> tuple[Recipe, dict[str, float]]:
    """The recipe of a step, and the numbers that were moved, for the metrics."""
    told = {f"schedule/{key}": spec.value(step) for key, spec in recipe.schedules.items()}
    return at_step(recipe, step), told
