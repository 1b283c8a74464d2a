"""A benchmark's own table, made from the trace of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vtool.benchmark import Judged, metrics
from vtool.task import Task
from vtool.trace import read_trace

from ..attempt import broken
from .entry import Opened


def write_table(opened: Opened, tasks: Sequence[Task], folder: Path) -> dict[str, float] | None:
    """Write `table.json` beside the report; None where no benchmark was named.

    Args:
        opened: The benchmark.
        tasks: Those of its questions that were asked.
        folder: Where the evaluation lies. Every attempt that says something about the policy
            counts once, the last one where it was played again.
    """
    if opened.benchmark is None:
        return None
    table = dict(opened.benchmark.summary(judged(opened.metric, tasks, folder)))
    (folder / "table.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return table


def judged(metric: str, tasks: Sequence[Task], folder: Path) -> list[Judged]:
    """The answers of an evaluation with their scores, in the order of the tasks."""
    score = metrics.get(metric)
    ids = getattr(tasks, "ids", None) or [t.id for t in tasks]
    where = {str(name): at for at, name in enumerate(ids)}
    found: dict[tuple[int, int], Judged] = {}
    for record in read_trace(folder / "trace"):
        at, number = where.get(record.task_id), record.meta.get("attempt")
        if at is None or not isinstance(number, int) or broken(record.episode.stop):
            continue
        task, answer = tasks[at], record.episode.answer
        found[at, number] = Judged(
            id=task.id,
            reference=task.reference,
            answer=answer,
            score=score(answer, task),
            tags=task.tags,
        )
    return [found[key] for key in sorted(found)]
