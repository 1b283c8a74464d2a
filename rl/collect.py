"""Collect: tasks to groups of scored episodes, asynchronously; dead groups are refilled here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vtool.environment import Environment
from vtool.errors import VToolError
from vtool.message import Outcome
from vtool.programs.solo import play
from vtool.record import Episode, Group
from vtool.reward import Combine, RewardPart, Score, Unscored
from vtool.scheduler import run_all
from vtool.scoring import check_unscored, score_group
from vtool.seat import Seat
from vtool.statistics import count_episode, mean_counts
from vtool.task import Task

from .group_advantage import Credit, group_credits
from .hacks import hack_rates
from .sample_weight import WeightSpec


class TooManyFailures(VToolError, RuntimeError):
    """Episodes keep failing for reasons of ours; the first reason is told."""


@dataclass(frozen=True, slots=True)
class Judges:
    """How a group is scored and credited."""

    parts: tuple[RewardPart, ...]
    combine: Combine
    estimator: str = "grpo"
    options: Mapping[str, object] = field(default_factory=dict)
    weight: WeightSpec = field(default_factory=WeightSpec)
    outcome: str = "answer"
    """The part whose mean is the accuracy."""
    step: int = 0
    """Of training, for parts that follow a schedule."""


@dataclass(slots=True)
class Collected:
    """What came of some tasks."""

    tasks: list[Task] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    scores: list[list[Score]] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    """Of every context that may be believed; those without credit count in the means."""
    dead: int = 0
    """Groups that gave no credit to anybody."""
    drawn: int = 0
    seconds: float = 0.0

    def episodes(self) -> list[tuple[Task, Episode, Score]]:
        """All attempts with their task and score."""
        rows = zip(self.tasks, self.groups, self.scores, strict=True)
        return [
            (task, episode, score)
            for task, group, scores in rows
            for episode, score in zip(group.episodes, scores, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Collector:
    """Plays groups of attempts.

    Args:
        seats: Who plays, by name.
        make_env: A fresh environment of a task and an attempt's seed.
        judges: How they are scored.
        group_size: Attempts a task.
        concurrency: Episodes at once; 0 for all.
        max_failed: Share of failed episodes beyond which `TooManyFailures` is raised.
    """

    seats: Mapping[str, Seat]
    make_env: Callable[[Task, int], Environment]
    judges: Judges
    group_size: int = 8
    concurrency: int = 0
    max_failed: float = 0.5

    async def collect(
        self,
        draw: Callable[[int], Sequence[Task]],
        prompts: int,
        *,
        key: tuple[int, ...],
        refill: int = 0,
    ) -> Collected:
        """Play `prompts` groups; draw further tasks for dead ones.

        Args:
            draw: Gives the next tasks.
            prompts: Groups wanted.
            key: Seeds all draws of this step.
            refill: Further tasks that may be drawn, in multiples of `prompts`.

        Raises:
            TooManyFailures: More episodes failed by our fault than `max_failed`.
        """
        start = time.monotonic()
        out = Collected()
        wanted, left = prompts, refill * prompts
        while wanted > 0:
            tasks = list(draw(wanted))
            if not tasks:
                break
            groups = await self._play(tasks, (*key, out.drawn))
            out.drawn += len(tasks)
            wanted = self._keep(out, tasks, groups, discard=refill > 0)
            wanted = min(wanted, left) if refill else 0
            left -= wanted
        out.seconds = time.monotonic() - start
        return out

    def _keep(
        self, out: Collected, tasks: Sequence[Task], groups: Sequence[Group], *, discard: bool
    ) -> int:
        """Score groups; answers how many were dead."""
        dead = 0
        judged: list[Score] = []
        for task, group in zip(tasks, groups, strict=True):
            scores = score_group(
                group.episodes,
                task,
                self.judges.parts,
                self.judges.combine,
                step=self.judges.step,
            )
            judged += scores
            given = group_credits(
                group.episodes,
                scores,
                self.judges.estimator,
                self.judges.options,
                self.judges.weight,
            )
            gone = all(c.dead for c in given)
            dead += gone
            if gone and discard:
                continue
            out.tasks.append(task)
            out.groups.append(group)
            out.scores.append(scores)
            out.credits += given
        check_unscored(judged, self.max_failed)
        out.dead += dead
        return dead

    async def _play(self, tasks: Sequence[Task], key: tuple[int, ...]) -> list[Group]:
        def job(task: Task, number: int, attempt: int) -> Callable[[], object]:
            async def go() -> Episode:
                env = self.make_env(task, attempt)
                try:
                    return await play(env, self.seats, key=(*key, number, attempt))
                finally:
                    await env.close()

            return go

        jobs = [job(t, i, a) for i, t in enumerate(tasks) for a in range(self.group_size)]
        engine = next(iter(self.seats.values())).engine
        episodes = await run_all(jobs, engine=engine, concurrency=self.concurrency)  # type: ignore[arg-type]
        self._check_failures(episodes)
        size = self.group_size
        return [
            Group(task.id, tuple(episodes[i * size : (i + 1) * size]))
            for i, task in enumerate(tasks)
        ]

    def _check_failures(self, episodes: Sequence[Episode]) -> None:
        failed = [e for e in episodes if e.stop.ours]
        if len(failed) > self.max_failed * len(episodes):
            raise TooManyFailures(
                f"{len(failed)} of {len(episodes)} episodes failed by our fault; the first: "
                f"{failed[0].error or failed[0].stop}"
            )


def describe(
    collected: Collected, tags: Sequence[str] = ("zooms",), outcome: str = "answer"
) -> dict[str, float]:
    """Numbers of a step: reward and its parts, accuracy by tag, tools, stops, dead groups.

    `time/tools` adds up calls that may have run side by side; it is part of `time/generate`.
    """
    rows = collected.episodes()
    scored = [(t, e, s) for t, e, s in rows if not isinstance(s.total, Unscored)]
    out: dict[str, float] = {"episodes": len(rows), "masked": len(rows) - len(scored)}
    out["groups"] = collected.drawn
    out["dead_groups"] = collected.dead / max(1, collected.drawn)
    out["time/generate"] = collected.seconds
    out["time/tools"] = sum(o.seconds for _, e, _ in rows for o in _outcomes(e))
    if not scored:
        return out
    out["reward/total"] = _mean([s.total for _, _, s in scored if isinstance(s.total, float)])
    for name in scored[0][2].parts:
        marks = [s.parts[name] for _, _, s in scored]
        values = [m for m in marks if isinstance(m, int | float)]
        if values:
            out[f"reward/part/{name}"] = _mean(values)
    judged = outcome in scored[0][2].parts
    if judged:  # without a judge of answers there is no accuracy, rather than one of 0
        out["accuracy"] = out.get(f"reward/part/{outcome}", 0.0)
    for tag in tags if judged else ():
        for value in sorted({str(t.tags[tag]) for t, _, _ in scored if tag in t.tags}):
            hits = [_answered(s, outcome) for t, _, s in scored if str(t.tags.get(tag)) == value]
            out[f"accuracy/{tag}={value}"] = _mean(hits)
    out |= mean_counts([count_episode(e) for _, e, _ in scored])
    out |= hack_rates([(t, e) for t, e, _ in scored])
    stops = Counter(str(e.stop) for _, e, _ in rows)
    return out | {f"stop/{name}": n / len(rows) for name, n in sorted(stops.items())}


def _outcomes(episode: Episode) -> Sequence[Outcome]:
    """What became of its calls; nothing where it never began."""
    return episode.outcomes() if episode.contexts else ()


def _answered(score: Score, outcome: str) -> float:
    mark = score.parts.get(outcome)
    return float(mark) if isinstance(mark, int | float) else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
