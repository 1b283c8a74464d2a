"""Benchmarks: named sources of tasks with the metric by which they are judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vtool.errors import DataError, UnknownName
from vtool.message import Json
from vtool.metrics import exact_match
from vtool.record import Episode
from vtool.registry import Registry
from vtool.task import Answer, Choice, Reference, Task
from vtool.temporal_score import temporal_score

Metric = Callable[[str | None, Task], float]
"""Answer and task to a number in [0, 1]."""


class TaskSource(Protocol):
    """Reads a benchmark's files."""

    def __call__(self, root: Path) -> Iterable[Task]:
        """Tasks below `root`, in a fixed order; best a sequence with `ids` that decodes late."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer with its score: what a benchmark's own table is made of."""

    id: str
    reference: Reference
    answer: str | None
    score: float
    tags: Mapping[str, Json] = field(default_factory=dict)


Summary = Callable[[Sequence[Judged]], Mapping[str, float]]
"""A benchmark's own table: names to numbers, shares in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A form in which a benchmark's files lie on disk.

    Args:
        form: Kind of files.
        where: What lies where below the root.
        seen: How we know: "verified: ..." or "documented: ...".
    """

    form: str
    where: str
    seen: str


def mean_score(judged: Sequence[Judged]) -> dict[str, float]:
    """The mean over all answers, and nothing else."""
    return {"overall": math.fsum(j.score for j in judged) / len(judged) if judged else 0.0}


def accepted(task: Task) -> tuple[str, ...]:
    """The reference as answers, each of which should score 1."""
    if isinstance(task.reference, Choice):
        return (task.reference.letter,)
    return task.reference.texts if isinstance(task.reference, Answer) else ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named source of tasks with its metric and the tools on offer."""

    name: str
    read: TaskSource
    metric: str = "exact_match"
    tools: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    summary: Summary = mean_score
    """Its own table, beside the mean of the metric."""
    published: str | None = None
    """Metric that gives the published scorer's number, where it differs from ours."""
    layouts: tuple[Layout, ...] = ()
    says: Callable[[Task], Sequence[str]] = accepted
    """The reference as answers; each must score 1."""
    draft: TaskSource | None = None
    """The same tasks unchecked, so that `vtool data check` can tell all that is wrong at once."""
    about: str = ""
    """What it measures, and where it comes from."""

    def score(self, episode: Episode, task: Task) -> float:
        """The metric of a finished episode."""
        return metrics.get(self.metric)(episode.answer, task)

    def score_answer(self, answer: str | None, task: Task) -> float:
        """The metric of an answer text."""
        return metrics.get(self.metric)(answer, task)


benchmarks: Registry[Benchmark] = Registry("benchmark", "vtool.benchmarks")
metrics: Registry[Metric] = Registry("metric", "vtool.metrics")


def full_name(name: str, split: str | None) -> str:
    """The registered name of a benchmark and a split.

    Raises:
        UnknownName: No such benchmark.
        DataError: The name needs a split, or has none of that name.
    """
    names = benchmarks.names()
    splits = [n.removeprefix(f"{name}_") for n in names if n.startswith(f"{name}_")]
    if split is None:
        if name not in names and splits:
            raise DataError(f"{name}: expected a split, one of {', '.join(splits)}")
        return name
    whole = f"{name}_{split}"
    if whole in names:
        return whole
    if name not in names and not splits:
        raise UnknownName("benchmark", name, names)
    told = f"one of {', '.join(splits)}" if splits else "none: it has one split only"
    raise DataError(f"{name}: expected as split {told}, got {split!r}")


def _exact(answer: str | None, task: Task) -> float:
    texts = accepted(task)
    return exact_match(answer, texts) if texts else 0.0


metrics.add("exact_match", _exact)
metrics.add("temporal", temporal_score)


def benchmark(
    name: str | None = None, *, metric: str = "exact_match", tools: tuple[str, ...] = ()
) -> Callable[[TaskSource], Benchmark]:
    """Register a function that yields tasks as a benchmark.

    Args:
        name: What users call it; the function's name by default.
        metric: Registered metric.
        tools: Tools on offer.
    """

    def make(fn: TaskSource) -> Benchmark:
        own = str(getattr(fn, "__name__", "benchmark"))
        made = Benchmark(name or own, fn, metric, tools)
        return benchmarks.add(made.name, made)

    return make
