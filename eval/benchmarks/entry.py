"""From a name and a folder to tasks and the metric by which they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtool.benchmark import Benchmark, Summary, benchmarks, full_name
from vtool.task import Task


@dataclass(frozen=True, slots=True)
class Opened:
    """A benchmark with its questions at hand.

    Args:
        benchmark: Its declaration; `summary` makes its own table.
        tasks: Its questions; media are decoded one task at a time.
        metric: Registered name of the metric that judges them.
    """

    benchmark: Benchmark
    tasks: Sequence[Task]
    metric: str

    @property
    def summary(self) -> Summary:
        """Its own table, of judged answers."""
        return self.benchmark.summary


def open_benchmark(
    name: str, root: str | Path, split: str | None = None, *, as_published: bool = False
) -> Opened:
    """Open a benchmark by its name.

    Args:
        name: Registered name, or its first part where splits are benchmarks of their own
            ("refcoco" with the split "testA" is `refcoco_testA`).
        root: Folder that holds its files.
        split: Which split, where there are several.
        as_published: Judge by the published scorer's reading, quirks and all.

    Raises:
        UnknownName: No such benchmark.
        DataError: The name needs a split, has none of that name, or the files are not as expected.
    """
    found = benchmarks.get(full_name(name, split))
    tasks = found.read(Path(root))
    if not isinstance(tasks, Sequence):
        tasks = tuple(tasks)
    return Opened(found, tasks, (found.published or found.metric) if as_published else found.metric)
