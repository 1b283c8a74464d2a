"""Self-imitation: what went better than usual is learnt again, a few steps later.

Attempts whose mean advantage was above 0 wait in a buffer. When it is full, their advantage is
computed anew against how groups do by now, those that are no longer better than that are
dropped, and the rest is learnt from beside the step's own episodes, with a loss of its own whose
weight a schedule lets come.

Source: SPEAR (Learn the Ropes, Then Trust the Wins): buffer of 2048, used once it holds more than
1.5 times that; baseline is the median of the last 10 240 group means; entries older than 5 steps
are dropped; a random part of a size that is a power of two is taken; then the buffer is emptied.
How what is taken is learnt from, and with what weight, is `learner.replay`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtool.errors import RecipeError
from vtool.message import Author
from vtool.programs.chance import chance
from vtool.record import Context, Episode, Group
from vtool.reward import Score, Unscored

from . import durable
from .group_advantage import Credit, totals
from .memory import Lookup, load_episodes, save_episodes
from .rollouts import path, path_episode
from .self_imitation import fill_size, recalibrate


@dataclass(frozen=True)
class ImitationSpec:
    """What waits in the buffer, and how it is used.

    Args:
        capacity: Attempts that are learnt from at once, at most.
        trigger: The buffer is used once it holds more than so many times its capacity.
        max_age: Steps after which an attempt is dropped.
        history: Group means of which the baseline is taken.
        quantile: Of those means; 0.5 is their median.
    """

    capacity: int = 2048
    trigger: float = 1.5
    max_age: int = 5
    history: int = 10_240
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.history < 1 or self.max_age < 0 or self.trigger < 0:
            raise RecipeError(
                "replay.imitation needs capacity >= 1, history >= 1, max_age >= 0 and trigger >= "
                f"0, got {self.capacity}, {self.history}, {self.max_age}, {self.trigger}"
            )
        if not 0 <= self.quantile <= 1:
            raise RecipeError(f"replay.imitation.quantile lies in [0, 1], got {self.quantile}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt that went better than its group."""

    episode: Episode
    total: float
    step: int


class ImitationBuffer:
    """Attempts to be learnt from again; a `memory.Memory`.

    Args:
        spec: How it works.
        seed: Of what is taken.
    """

    name = "imitation"

    def __init__(self, spec: ImitationSpec, seed: int = 0) -> None:
        self.spec, self.seed = spec, seed
        self.waiting: list[Waiting] = []
        self.means: list[float] = []

    def add(
        self, group: Group, scores: Sequence[Score], credits: Sequence[Credit], step: int
    ) -> None:
        """Remember a group: its mean, and those of its attempts that were better.

        Args:
            group: The attempts.
            scores: One an attempt.
            credits: Of the group's contexts.
            step: In which it was played.
        """
        returns, believed = totals(scores)
        if not believed.any():
            return
        self.means = [*self.means, float(returns[believed].mean())][-self.spec.history :]
        for episode, score in zip(group.episodes, scores, strict=True):
            if not isinstance(score.total, Unscored) and mean_advantage(episode, credits) > 0:
                self.waiting.append(Waiting(path_episode(episode), float(score.total), step))
        # Between uses it may grow to its trigger and by one step, never without bound.
        bound = int(self.spec.capacity * max(1.0, self.spec.trigger)) + len(group.episodes)
        self.waiting = self.waiting[-bound:]

    @property
    def full(self) -> bool:
        """Whether there is enough to learn from."""
        return len(self.waiting) > self.spec.trigger * self.spec.capacity

    def take(self, step: int) -> list[Credit]:
        """Credits of what is to be learnt from now; empties the buffer. None until it is full."""
        if not self.full:
            return []
        worth, kept = recalibrate(
            [w.total for w in self.waiting], self.means, quantile=self.spec.quantile
        )
        fit = [
            (waiting.episode, float(value))
            for waiting, value, keep in zip(self.waiting, worth, kept, strict=True)
            if keep and step - waiting.step <= self.spec.max_age
        ]
        self.waiting = []
        count = fill_size(len(fit), self.spec.capacity)
        order = chance("imitation", (self.seed, step)).permutation(len(fit))[:count]
        return [
            Credit(fit[i][0], context, spread(context, fit[i][1]))
            for i in sorted(order.tolist())
            for context in fit[i][0].contexts
            if context.has_tokens
        ]

    def save(self, folder: Path) -> None:
        """Write attempts as a trace, and the group means."""
        rows = ((w.episode, Score({}, w.total), {"step": w.step}) for w in self.waiting)
        save_episodes(folder / "trace", rows)
        durable.write_json(folder / "means.json", {"means": self.means})

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Read them back."""
        self.means = list(json.loads((folder / "means.json").read_text())["means"])
        self.waiting = [
            Waiting(r.episode, float(r.score.total), int(r.meta["step"]))
            for r in load_episodes(folder / "trace")
            if r.score is not None and not isinstance(r.score.total, Unscored)
        ]


def mean_advantage(episode: Episode, credits: Sequence[Credit]) -> float:
    """Mean credit of the policy's tokens along an attempt."""
    given = {(id(c.episode.contexts), c.context.number): c.laid for c in credits}
    total, count = 0.0, 0
    for stretch in path(episode):
        values = given.get((id(episode.contexts), stretch.context.number))
        own = stretch.context.segments[: stretch.end]
        for value, segment in zip(values or (), own, strict=False):
            if segment.author is Author.POLICY:
                total += float(np.mean(value)) * len(segment)
                count += len(segment)
    return total / count if count else 0.0


def spread(context: Context, value: float) -> tuple[float, ...]:
    """One number on all that the policy wrote."""
    return tuple(value if s.author is Author.POLICY else 0.0 for s in context.segments)
