"""Reward parts and how they are combined. Parts read the record; they never read wire syntax.

A part has a site (what it judges) and a scope (what it must see to judge). It may answer
`Unscored`, which is no number: the episode is then masked, never scored 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias

from vtool.errors import RecipeError, nearest
from vtool.record import Episode
from vtool.registry import Registry
from vtool.task import Task


class Site(StrEnum):
    """What a number is about."""

    EPISODE = "episode"
    CONTEXT = "context"
    TURN = "turn"
    CALL = "call"
    NODE = "node"


class Scope(StrEnum):
    """What a part must see."""

    ATTEMPT = "attempt"
    GROUP = "group"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Unscored:
    """No judgement was possible; the reason is kept."""

    reason: str


Marks: TypeAlias = float | Unscored | Sequence[float] | None
"""One number for episode parts; one per turn, call or context for the others; None where the
part does not apply to the task (no target to look at, say), which is neither good nor bad."""


@dataclass(frozen=True, slots=True)
class RewardPart:
    """A named judge.

    Attempt parts are called as `fn(episode, task)`; group parts as `fn(episodes, task)` and
    batch parts as `fn(groups, tasks)`, giving one `Marks` an episode.
    """

    name: str
    site: Site
    scope: Scope
    fn: Callable[..., Any]

    @property
    def options(self) -> tuple[str, ...]:
        """What may be set: the keyword-only arguments, `step` aside."""
        return tuple(n for n in _keywords(self.fn) if n != STEP)

    def set(self, **options: Any) -> RewardPart:
        """The same part with other settings.

        Raises:
            RecipeError: It has no such setting; the nearest is named.
        """
        for name in options:
            if name not in self.options:
                raise RecipeError(
                    f"reward part {self.name!r} has no option {name!r}"
                    f"{nearest(name, self.options)}; it has {', '.join(self.options) or 'none'}"
                )
        return replace(self, fn=partial(self.fn, **options)) if options else self

    def at(self, step: int) -> Callable[..., Any]:
        """The function to call at a step of training: a part with the keyword `step` is told."""
        return partial(self.fn, step=step) if STEP in _keywords(self.fn) else self.fn


@dataclass(frozen=True, slots=True)
class Score:
    """All parts of one episode, kept apart, and their total."""

    parts: Mapping[str, Marks]
    total: float | Unscored
    turns: Mapping[int, float] = field(default_factory=dict)
    """Credit per assistant turn, where a combine gives it."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """What each part adds to the total, where the total is a sum and the combine tells."""


Combine: TypeAlias = Callable[[Mapping[str, Marks]], Score]
"""A pure function of an episode's parts."""

STEP = "step"
"""Keyword by which a part asks for the step of training."""

parts: Registry[RewardPart] = Registry("reward part", "vtool.rewards")


def _ours() -> None:
    from vtool import combine, combine_published  # noqa: F401


combines: Registry[Callable[..., Combine]] = Registry("combine", "vtool.combines", _ours)


def reward(
    name: str, *, site: Site = Site.EPISODE, scope: Scope = Scope.ATTEMPT
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a reward part under a name; the function itself is returned unchanged."""

    def make(fn: Callable[..., Any]) -> Callable[..., Any]:
        parts.add(name, RewardPart(name, site, scope, fn))
        return fn

    return make


def is_scored(episode: Episode, task: Task) -> bool:
    """Whether an episode may be scored at all: it belongs to the task and did not fail by us."""
    return episode.task_id == task.id and not episode.stop.ours


def choose(named: str | Mapping[str, Mapping[str, Any]]) -> RewardPart:
    """A part as a recipe names it: `answer`, or `{box_iou: {low: 0.2}}` with settings.

    Raises:
        UnknownName: No such part.
        RecipeError: More than one name, or settings that it does not have.
    """
    if isinstance(named, str):
        return parts.get(named)
    if len(named) != 1:
        raise RecipeError(f"a reward part is a name or one name with its options, got {named}")
    ((name, options),) = named.items()
    return parts.get(name).set(**options)


def _keywords(fn: Callable[..., Any]) -> list[str]:
    kinds = inspect.signature(fn).parameters.values()
    return [p.name for p in kinds if p.kind is p.KEYWORD_ONLY]
