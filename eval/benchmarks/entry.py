"""From what a user names to tasks and the metric by which they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtool.benchmark import Benchmark, benchmarks, full_name
from vtool.data import load_tasks
from vtool.errors import DataError
from vtool.task import Task


@dataclass(frozen=True, slots=True)
class Opened:
    """Questions at hand.

    Args:
        name: Of the benchmark, or of the file.
        tasks: Its questions; media are decoded one task at a time.
        metric: Registered name of the metric that judges them.
        tools: Tools on offer unless others are chosen.
        benchmark: Its declaration, whose `summary` makes its own table; None for a user's file.
    """

    name: str
    tasks: Sequence[Task]
    metric: str
    tools: tuple[str, ...]
    benchmark: Benchmark | None = None


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
    metric = (found.published or found.metric) if as_published else found.metric
    return Opened(found.name, tasks, metric, found.tools, found)


def open_tasks(
    what: str, root: str | Path | None, split: str | None = None, *, as_published: bool = False
) -> Opened:
    """A benchmark where a root is given, else a file of one's own.

    Raises:
        UnknownName: No such benchmark.
        DataError: The file or folder is not as expected; or a benchmark is named without its root.
    """
    if root is not None:
        return open_benchmark(what, root, split, as_published=as_published)
    if what in benchmarks and not Path(what).exists():
        raise DataError(f"{what} is a benchmark: say where its files lie, --root FOLDER")
    return Opened(Path(what).stem, load_tasks(what), "exact_match", ("zoom",))
