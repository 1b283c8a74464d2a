"""Benchmarks: named sources of tasks with the metric by which they are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vtool.metrics import exact_match
from vtool.record import Episode
from vtool.registry import Registry
from vtool.task import Answer, Task
from vtool.temporal_score import temporal_score

Metric = Callable[[str | None, Task], float]
"""Answer and task to a number in [0, 1]."""


class TaskSource(Protocol):
    """Reads a benchmark's files."""

    def __call__(self, root: Path) -> Iterator[Task]:
        """Tasks below `root`, in a fixed order."""
        ...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named source of tasks with its metric and the tools on offer."""

    name: str
    read: TaskSource
    metric: str = "exact_match"
    tools: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def score(self, episode: Episode, task: Task) -> float:
        """The metric of a finished episode."""
        return metrics.get(self.metric)(episode.answer, task)

    def score_answer(self, answer: str | None, task: Task) -> float:
        """The metric of an answer text."""
        return metrics.get(self.metric)(answer, task)


benchmarks: Registry[Benchmark] = Registry("benchmark", "vtool.benchmarks")
metrics: Registry[Metric] = Registry("metric")


def _exact(answer: str | None, task: Task) -> float:
    if not isinstance(task.reference, Answer):
        return 0.0
    return exact_match(answer, task.reference.texts)


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
