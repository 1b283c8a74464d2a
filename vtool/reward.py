"""Reward parts and how they are combined. Parts read the record; they never read wire syntax.

A part has a site (what it judges) and a scope (what it must see to judge). It may answer
`Unscored`, which is no number: the episode is then masked, never scored 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Score:
    """All parts of one episode, kept apart, and their total."""

    parts: Mapping[str, Marks]
    total: float | Unscored
    turns: Mapping[int, float] = field(default_factory=dict)
    """Credit per assistant turn, where a combine gives it."""


Combine: TypeAlias = Callable[[Mapping[str, Marks]], Score]
"""A pure function of an episode's parts."""

parts: Registry[RewardPart] = Registry("reward part", "vtool.rewards")
combines: Registry[Callable[..., Combine]] = Registry("combine")


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
