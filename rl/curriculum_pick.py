"""Pickers: by stages of difficulty, or the harder the more often."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtool.data_rows import Row
from vtool.errors import DataError, RecipeError
from vtool.programs.chance import chance
from vtool.reward import Score, Unscored

from . import durable
from .curriculum import picker
from .memory import Lookup
from .sampler import Sampler


@picker("stage")
class Stages:
    """Tasks in buckets by a tag, from the first to the last, each for some steps.

    Args:
        rows: The task file's.
        seed: Of the order within a bucket.
        by: The tag, such as the length of a solution.
        order: Its values, bucket by bucket, easy first; a list makes one bucket of several.
        edges: Instead, for numbers: bucket i holds what is below edge i.
        until: Step before which each bucket but the last ends; rising.
        together: Whether earlier buckets stay in the mix.

    Source: CRAFT-GUI: tasks sorted by the difficulty of their trajectories, short ones first.

    Traps: a task of a later bucket is never drawn early, not even to fill up a step.
    """

    name = "stages"

    def __init__(
        self,
        rows: Sequence[Row],
        seed: int,
        *,
        by: str,
        until: Sequence[int],
        order: Sequence[Any] = (),
        edges: Sequence[float] = (),
        together: bool = False,
    ) -> None:
        if bool(order) is bool(edges) or list(until) != sorted(set(until)):
            raise RecipeError(
                "curriculum stage needs `order` or `edges`, not both, and `until` with rising "
                f"steps; got {list(order)}, {list(edges)}, {list(until)}"
            )
        self.until, self.cursor, self.stage = list(until), 0, 0
        count = len(order) if order else len(edges) + 1
        if len(self.until) != count - 1:
            raise RecipeError(
                f"curriculum stage has {count} buckets, so `until` needs {count - 1} steps, got "
                f"{len(self.until)}"
            )
        places = [_bucket(row, by, order, edges) for row in rows]
        self.buckets = [
            [i for i, b in enumerate(places) if b == k or (together and 0 <= b < k)]
            for k in range(count)
        ]
        empty = [k for k, members in enumerate(self.buckets) if not members]
        if empty:
            raise DataError(f"curriculum stage: no task of tag {by!r} falls into bucket {empty[0]}")
        self.samplers = [Sampler(len(b), seed + k) for k, b in enumerate(self.buckets)]

    def begin(self, step: int) -> None:
        """Go on to the bucket of this step."""
        self.stage = bisect_right(self.until, step)

    def draw(self, number: int) -> list[int]:
        """The next tasks of the bucket."""
        self.cursor += number
        bucket = self.buckets[self.stage]
        return [bucket[i] for i in self.samplers[self.stage].draw(number)]

    def learn(self, task_id: str, scores: Sequence[Score]) -> None:
        """Nothing is learnt: stages go by steps."""

    def save(self, folder: Path) -> None:
        """Where each bucket stands."""
        durable.write_json(folder / "cursors.json", {"at": [s.cursor for s in self.samplers]})

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Read it back."""
        body = json.loads((folder / "cursors.json").read_text(encoding="utf-8"))
        for one, cursor in zip(self.samplers, body["at"], strict=True):
            one.cursor = int(cursor)


def _bucket(row: Row, by: str, order: Sequence[Any], edges: Sequence[float]) -> int:
    value = (row.tags or {}).get(by)
    if edges:
        if not isinstance(value, int | float):
            raise DataError(f"task {row.id!r}: tag {by!r} is {value!r}, expected a number")
        return bisect_right(list(edges), value)
    for k, wanted in enumerate(order):
        if value == wanted or (isinstance(wanted, list | tuple) and value in wanted):
            return k
    return -1


@picker("difficulty")
class Difficulty:
    """The lower a task's mean reward, the more often it comes.

    A task is drawn with a probability in proportion to ``exp(-rate * mean reward)``.

    Args:
        rows: The task file's.
        seed: Of what is drawn.
        rate: Lambda; 0 draws all tasks alike.
        prior: Mean reward of a task that was not played yet.
        window: A task's mean is over its last so many attempts.

    Source: SkillMimic-V2, adaptive sampling of trajectories by low reward.

    Traps: tasks are drawn without putting back within a step, so none comes twice in a batch
    unless there are fewer than were asked for; attempts that nobody could score are no evidence.
    """

    name = "difficulty"

    def __init__(
        self,
        rows: Sequence[Row],
        seed: int,
        *,
        rate: float = 1.0,
        prior: float = 0.0,
        window: int = 32,
    ) -> None:
        if rate < 0 or window < 1:
            raise RecipeError(
                f"curriculum difficulty needs rate >= 0 and window >= 1, got {rate}, {window}"
            )
        self.ids = [row.id for row in rows]
        self.seed, self.rate, self.prior, self.window = seed, rate, prior, window
        self.cursor = 0
        self.rewards: dict[str, list[float]] = {}

    def begin(self, step: int) -> None:
        """Nothing changes with the step alone."""

    def chances(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Probability of each task to be drawn first."""
        means = [np.mean(self.rewards[i]) if i in self.rewards else self.prior for i in self.ids]
        # Never 0: where all others are drawn, the easiest task must still come.
        weights = np.exp(-np.minimum(self.rate * (np.array(means) - np.min(means)), 600.0))
        return np.asarray(weights / weights.sum())

    def draw(self, number: int) -> list[int]:
        """The next tasks."""
        draw = chance("difficulty", (self.seed, self.cursor))
        out: list[int] = []
        while len(out) < number:
            count = min(number - len(out), len(self.ids))
            out += draw.choice(len(self.ids), count, replace=False, p=self.chances()).tolist()
        self.cursor += number
        return out

    def learn(self, task_id: str, scores: Sequence[Score]) -> None:
        """Remember the rewards of a group."""
        fresh = [float(s.total) for s in scores if not isinstance(s.total, Unscored)]
        if fresh:
            self.rewards[task_id] = [*self.rewards.get(task_id, []), *fresh][-self.window :]

    def save(self, folder: Path) -> None:
        """Write the rewards seen."""
        durable.write_json(folder / "rewards.json", self.rewards)

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Read them back."""
        body: Mapping[str, list[float]] = json.loads(
            (folder / "rewards.json").read_text(encoding="utf-8")
        )
        self.rewards = {k: [float(v) for v in values] for k, values in body.items()}
