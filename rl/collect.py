"""Collect: tasks to groups of scored episodes, asynchronously; dead groups are refilled here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vtool.codec import Codec
from vtool.environment import Environment
from vtool.errors import VToolError
from vtool.message import Outcome
from vtool.record import Episode, Fork, Group, StopReason
from vtool.reward import Combine, RewardPart, Score, Unscored
from vtool.scoring import check_unscored, score_group
from vtool.seat import Seat
from vtool.statistics import count_episode, mean_counts
from vtool.task import Task

from .credit_spec import CreditSpec, resolve
from .group_advantage import Credit, blended_credits, settle
from .group_filter import FilterSpec, Keeps, make_filter
from .hacks import hack_rates
from .rollout_sampler import Flat, RolloutSampler, Scene
from .rollouts import cut_credits
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
    credit: CreditSpec = field(default_factory=CreditSpec)
    mask: tuple[StopReason, ...] = ()
    """Attempts that ended so count in the statistics; nothing is learnt from them."""
    outcome: str = "answer"
    """The part whose mean is the accuracy."""
    combine_name: str = ""
    combine_options: Mapping[str, object] = field(default_factory=dict)
    """How `combine` was made, for who reads the trace."""
    others: Mapping[str, Combine] = field(default_factory=dict)
    """Other combines of the same parts, to be told beside the credit; they decide nothing."""

    @property
    def rule(self) -> CreditSpec:
        """The whole credit rule: the blend, or what the estimator stands for."""
        return resolve(self.credit, self.estimator, self.options, self.weight)

    def credits(
        self, episodes: Sequence[Episode], scores: Sequence[Score], codecs: Mapping[str, Codec]
    ) -> list[Credit]:
        """Credit of a group, before the whole batch has its say (`settle`)."""
        given = blended_credits(episodes, scores, self.rule, codecs)
        return cut_credits(episodes, unmasked(episodes, given, self.mask))


@dataclass(slots=True, repr=False)
class Collected:
    """What came of some tasks."""

    tasks: list[Task] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    scores: list[list[Score]] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    """Of every context that may be believed; those without credit count in the means."""
    owners: list[int] = field(default_factory=list)
    """For each credit, the group that it is of."""
    replayed: list[Credit] = field(default_factory=list)
    """Of episodes of earlier steps, to be learnt from beside."""
    dead: int = 0
    """Groups that gave no credit to anybody."""
    refused: int = 0
    """Groups that the filter did not keep."""
    rescued: int = 0
    """Groups in which a stored success took the place of an attempt."""
    drawn: int = 0
    played: int = 0
    """Groups that came to an end, kept or not."""
    seconds: float = 0.0
    judged: list[Score] = field(default_factory=list)
    """Every score given to fresh attempts, their group kept or not."""
    judges: Judges | None = None
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    """Tokenizers by seat."""

    def __repr__(self) -> str:
        """A line, for the same reason as an episode's."""
        attempts = sum(len(g.episodes) for g in self.groups)
        return f"Collected({len(self.groups)} groups, {attempts} attempts)"

    def episodes(self) -> list[tuple[Task, Episode, Score]]:
        """All attempts with their task and score."""
        rows = zip(self.tasks, self.groups, self.scores, strict=True)
        return [
            (task, episode, score)
            for task, group, scores in rows
            for episode, score in zip(group.episodes, scores, strict=True)
        ]

    def credits_of(self, number: int) -> list[Credit]:
        """The credits of a group."""
        return [c for c, o in zip(self.credits, self.owners, strict=True) if o == number]

    def keep_groups(self, wanted: Sequence[bool]) -> None:
        """Leave out whole groups, with their credits."""
        mine = zip(self.credits, self.owners, strict=True)
        kept = [(c, o) for c, o in mine if wanted[o]]
        number = {old: new for new, old in enumerate(i for i, w in enumerate(wanted) if w)}
        self.credits, self.owners = [c for c, _ in kept], [number[o] for _, o in kept]
        for name in ("tasks", "groups", "scores"):
            rows = zip(getattr(self, name), wanted, strict=True)
            setattr(self, name, [row for row, w in rows if w])


class Rescue(Protocol):
    """Helps out groups in which everybody failed; see `replay`."""

    def substitute(self, task: Task, group: Group, scores: Sequence[Score]) -> Group:
        """The group, perhaps with a stored success in the place of an attempt."""
        ...

    def admit(self, task: Task, group: Group, scores: Sequence[Score]) -> None:
        """Remember the successes of a group."""
        ...


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
        sampler: How the attempts of a group come to be.
        filter: Which groups are kept.
        rescue: Helps out groups in which everybody failed.
        vocab: Size of the policy's vocabulary, for samplers that measure entropy.
        learn: Told of every group that was played: its task and scores, kept or not.
    """

    seats: Mapping[str, Seat]
    make_env: Callable[[Task, int], Environment]
    judges: Judges
    group_size: int = 8
    concurrency: int = 0
    max_failed: float = 0.5
    sampler: RolloutSampler = field(default_factory=Flat)
    filter: FilterSpec = field(default_factory=FilterSpec)
    rescue: Rescue | None = None
    vocab: int = 0
    learn: Callable[[str, Sequence[Score]], None] | None = None

    async def collect(
        self,
        draw: Callable[[int], Sequence[Task]],
        prompts: int,
        *,
        key: tuple[int, ...],
        refill: int = 0,
        step: int = 0,
    ) -> Collected:
        """Play `prompts` groups; draw further tasks for those that the filter refuses.

        The default filter refuses dead groups, and only where they can be refilled.

        Args:
            draw: Gives the next tasks.
            prompts: Groups wanted.
            key: Seeds all draws of this step.
            refill: Further tasks that may be drawn, in multiples of `prompts`.
            step: Steps done, which is the version of the weights.

        Raises:
            TooManyFailures: More episodes failed by our fault than `max_failed`.
            TooManyUnscored: More of the others could not be scored.
        """
        start = time.monotonic()
        out = Collected(judges=self.judges, codecs=self._codecs())
        keeps, at_the_end = make_filter(self.filter)
        discard = refill > 0 or self.filter.name not in ("dead", "top_std")
        wanted, left = max(0, prompts - self.sampler.waiting), refill * prompts
        while wanted > 0 or (self.sampler.waiting and not out.drawn):
            tasks = list(draw(wanted)) if wanted else []
            if not tasks and not self.sampler.waiting:
                break
            found = await self._play(tasks, (*key, out.drawn), step)
            out.drawn += len(tasks)
            refused = sum([not self._keep(out, t, g, keeps, discard, step) for t, g in found])
            check_unscored(out.judged, self.max_failed)
            wanted = min(refused, left) if refill else 0
            left -= wanted
            if not tasks:
                break
        if at_the_end is not None and out.scores:
            kept = at_the_end(out.scores)
            out.refused += len(kept) - sum(kept)
            out.keep_groups(kept)
        out.credits = settle(out.credits, self.judges.rule)
        out.seconds = time.monotonic() - start
        return out

    def _codecs(self) -> dict[str, Codec]:
        """Tokenizers by seat, for credit on kinds of tokens."""
        found = {n: getattr(s.renderer, "codec", None) for n, s in self.seats.items()}
        return {name: codec for name, codec in found.items() if codec is not None}

    def _keep(
        self, out: Collected, task: Task, group: Group, keeps: Keeps, discard: bool, step: int
    ) -> bool:
        """Score a group; answers whether the filter keeps it."""
        scores = self._score(task, group, step)
        out.judged += scores
        if self.learn is not None:
            self.learn(task.id, scores)
        if self.rescue is not None:
            fresh, judged = group, scores
            group = self.rescue.substitute(task, group, scores)
            if group is not fresh:
                out.rescued += 1
                scores = self._score(task, group, step)
            self.rescue.admit(task, fresh, judged)
        given = self.judges.credits(group.episodes, scores, out.codecs)
        out.played += 1
        out.dead += all(c.dead for c in given)
        kept = keeps(scores, given)
        out.refused += discard and not kept
        if kept or not discard:
            out.owners += [len(out.groups)] * len(given)
            out.tasks.append(task)
            out.groups.append(group)
            out.scores.append(scores)
            out.credits += given
        return kept

    def _score(self, task: Task, group: Group, step: int) -> list[Score]:
        judges = self.judges
        return score_group(group.episodes, task, judges.parts, judges.combine, step=step)

    async def _play(
        self, tasks: Sequence[Task], key: tuple[int, ...], step: int
    ) -> list[tuple[Task, Group]]:
        scene = Scene(
            self.seats, self.make_env, self.group_size, self.concurrency, self.vocab, step
        )
        found = await self.sampler.play(tasks, key, scene)
        for task, group in found:
            if len(group.episodes) != self.group_size:
                raise VToolError(
                    f"the sampler gave {len(group.episodes)} attempts at task {task.id!r}, "
                    f"expected {self.group_size}"
                )
        self._check_failures([e for _, group in found for e in group.episodes])
        return found

    def _check_failures(self, episodes: Sequence[Episode]) -> None:
        failed = [e for e in episodes if e.stop.ours]
        if len(failed) > self.max_failed * len(episodes):
            raise TooManyFailures(
                f"{len(failed)} of {len(episodes)} episodes failed by our fault; the first: "
                f"{failed[0].error or failed[0].stop}"
            )


def unmasked(
    episodes: Sequence[Episode], credits: Sequence[Credit], mask: Sequence[StopReason]
) -> list[Credit]:
    """Credits without those of contexts that only masked attempts run through."""
    if not mask:
        return list(credits)
    kept = {id(c) for e in episodes if e.stop not in mask for c in e.contexts}
    return [credit for credit in credits if id(credit.context) in kept]


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
    out["dead_groups"] = collected.dead / max(1, collected.played)
    out |= {k: float(v) for k, v in _extras(collected).items() if v}
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


def _extras(collected: Collected) -> dict[str, float]:
    """What only some samplers, filters and memories do; told where it happened."""
    episodes = [e for g in collected.groups for e in g.episodes if e.contexts]
    forked = [e for e in episodes if any(isinstance(c.edge, Fork) for c in e.contexts)]
    return {
        "refused_groups": collected.refused,
        "rescued_groups": collected.rescued,
        "replayed": len(collected.replayed),
        "branched": len(forked),
    }


def _outcomes(episode: Episode) -> Sequence[Outcome]:
    """What became of its calls; nothing where it never began."""
    return episode.outcomes() if episode.contexts else ()


def _answered(score: Score, outcome: str) -> float:
    mark = score.parts.get(outcome)
    return float(mark) if isinstance(mark, int | float) else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
