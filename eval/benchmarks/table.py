"""A benchmark's own table, made from what an evaluation counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vtool.benchmark import Judged
from vtool.task import Task

from ..attempt import Attempt
from ..results import read_samples, write_whole
from .entry import Opened

TABLE = "table.json"


def write_table(opened: Opened, tasks: Sequence[Task], folder: Path) -> dict[str, float] | None:
    """Write `table.json` beside the report, of the very attempts that the report counts.

    Args:
        opened: The benchmark.
        tasks: Those of its questions that were asked.
        folder: Where the evaluation lies.

    Returns:
        The table. None, and an older one is removed, where no benchmark was named, nothing was
        counted, or a judge had a say: the table is the rule's.
    """
    path = folder / TABLE
    counted = [a for a in read_samples(folder) if a.counts]
    if opened.benchmark is None or not counted or any(a.scored_by != "rule" for a in counted):
        path.unlink(missing_ok=True)
        return None
    table = dict(opened.benchmark.summary(judged(tasks, counted)))
    write_whole(path, json.dumps(table, indent=1) + "\n")
    return table


def judged(tasks: Sequence[Task], attempts: Sequence[Attempt]) -> list[Judged]:
    """Attempts with their references, in their order."""
    ids = getattr(tasks, "ids", None) or [t.id for t in tasks]
    where = {str(name): at for at, name in enumerate(ids)}
    found = []
    for a in attempts:
        task = tasks[where[a.task_id]]
        row = Judged(
            id=a.task_id,
            reference=task.reference,
            answer=a.answer,
            score=a.correct,
            tags=task.tags,
        )
        found.append(row)
    return found
