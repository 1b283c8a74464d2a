"""Our own worlds beside the published benchmarks: a folder that `vtool data make` wrote."""

from __future__ import annotations

from pathlib import Path

from vtool.benchmark import Benchmark, Layout, Summary
from vtool.data import TaskFile, load_tasks
from vtool.errors import DataError

from .finding import files
from .summaries import by


def _tasks(root: Path) -> TaskFile:
    found = files(Path(root), "tasks.jsonl", "*.jsonl")
    if len(found) != 1:
        raise DataError(f"expected one .jsonl file of tasks in {root}, got {len(found)}")
    return load_tasks(found[0])


MADE = "verified: written and read by this package"
_BY_KIND: Summary = by("kind")

TASK_FILE = Benchmark(
    name="task_file",
    read=_tasks,
    metric="exact_match",
    tools=("zoom",),
    summary=_BY_KIND,
    layouts=(Layout("jsonl with pictures", "one .jsonl of tasks, its pictures", MADE),),
    about="A file of one's own, or of one of our worlds, by its `kind` tags.",
)
