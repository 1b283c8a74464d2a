"""Replay rescue: where everybody failed, one stored success takes the place of an attempt.

A group of failures teaches nothing; with a success that an earlier policy had on the same task it
does. The success carries the log-probs of the policy that wrote it, so the surrogate's ratio
knows how far it is away.

Source: ARPO for GUI agents with experience replay: a group whose totals deviate by less than
0.05 around less than 0.2 gets a stored success in the place of its first attempt; the buffer
keeps 8 a task, first in first out, takes what scored more than 0.1, and is filled after the
substitution.

Traps: what was replayed is not stored again; the group is scored anew with the replayed attempt
in it, since parts that see the group must see that one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vtool.errors import RecipeError
from vtool.programs.chance import chance
from vtool.record import Episode, Group
from vtool.reward import Score, Unscored
from vtool.task import Task

from .group_advantage import totals
from .memory import Lookup, load_episodes, save_episodes
from .rollouts import path_episode


class Pick(StrEnum):
    """Which of a task's successes is replayed."""

    RANDOM = "random"
    NEWEST = "newest"


@dataclass(frozen=True)
class RescueSpec:
    """When a group is rescued, and what is stored.

    Args:
        std: A group is rescued only where its totals deviate by less.
        mean: And where their mean is less.
        size: Successes kept a task; the oldest makes way.
        admit: Attempts are stored that scored more.
        total: Successes kept in all; the oldest makes way.
        max_age: Steps after which a success is too old to be replayed; 0 for never.
        pick: Which of a task's successes is replayed.
    """

    std: float = 0.05
    mean: float = 0.2
    size: int = 8
    admit: float = 0.1
    total: int = 1024
    max_age: int = 0
    pick: Pick = Pick.RANDOM

    def __post_init__(self) -> None:
        object.__setattr__(self, "pick", Pick(self.pick))
        if self.size < 1 or self.total < 1 or self.max_age < 0:
            raise RecipeError(
                "replay.rescue needs size >= 1, total >= 1 and max_age >= 0, got "
                f"{self.size}, {self.total}, {self.max_age}"
            )


@dataclass(frozen=True, slots=True)
class Stored:
    """A success with its score and the step in which it was played."""

    episode: Episode
    score: Score
    step: int


class SuccessBuffer:
    """Successes by task; a `collect.Rescue` and a `memory.Memory`.

    Args:
        spec: What is stored and when it is used.
        seed: Of what is picked.
    """

    name = "successes"

    def __init__(self, spec: RescueSpec, seed: int = 0) -> None:
        self.spec, self.seed, self.step = spec, seed, 0
        self.stored: list[Stored] = []
        """In order of arrival."""

    def begin(self, step: int) -> None:
        """A step begins; what is too old is forgotten."""
        self.step = step
        if self.spec.max_age:
            self.stored = [s for s in self.stored if step - s.step <= self.spec.max_age]

    def of(self, task_id: str) -> list[Stored]:
        """A task's successes, oldest first."""
        return [s for s in self.stored if s.episode.task_id == task_id]

    def substitute(self, task: Task, group: Group, scores: Sequence[Score]) -> Group:
        """The group, with a stored success as its first attempt where everybody failed."""
        found = self.of(task.id)
        if not found or not all_failed(scores, self.spec):
            return group
        chosen = found[-1]
        if self.spec.pick is Pick.RANDOM:
            where = (self.seed, self.step, task_number(task.id))
            chosen = found[int(chance("rescue", where).integers(len(found)))]
        return Group(group.task_id, (chosen.episode, *group.episodes[1:]))

    def admit(self, task: Task, group: Group, scores: Sequence[Score]) -> None:
        """Store the successes of a group."""
        for episode, score in zip(group.episodes, scores, strict=True):
            if not isinstance(score.total, Unscored) and score.total > self.spec.admit:
                self.stored.append(Stored(path_episode(episode), score, self.step))
        self._bound()

    def save(self, folder: Path) -> None:
        """Write the successes as a trace."""
        save_episodes(folder, ((s.episode, s.score, {"step": s.step}) for s in self.stored))

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Read them back."""
        records = load_episodes(folder)
        self.stored = [Stored(r.episode, r.score, int(r.meta["step"])) for r in records if r.score]

    def _bound(self) -> None:
        newest: Counter[str] = Counter()
        kept = []
        for entry in reversed(self.stored):
            newest[entry.episode.task_id] += 1
            if newest[entry.episode.task_id] <= self.spec.size and len(kept) < self.spec.total:
                kept.append(entry)
        self.stored = kept[::-1]


def all_failed(scores: Sequence[Score], spec: RescueSpec) -> bool:
    """Whether a group failed alike: its believed totals hardly differ and are low."""
    returns, believed = totals(scores)
    values = returns[believed]
    return bool(values.size and values.std() < spec.std and values.mean() < spec.mean)


def task_number(task_id: str) -> int:
    """A number for an id, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(task_id.encode(), digest_size=6).digest(), "big")
