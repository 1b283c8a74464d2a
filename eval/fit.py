"""Whether a metric can read what the questions want, told before anything is played."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vtool.benchmark import accepted, metrics
from vtool.errors import DataError, MediaError
from vtool.task import Answer, Boxes, Grounded, Masks, Points, Spans, Task

from .attempt import scored

READERS: dict[type, tuple[str, ...]] = {
    Answer: ("exact_match", "anls", "relaxed", "plain", "vqa"),
    Boxes: ("box_at_half", "box_overlap", "click"),
    Points: (),
    Masks: ("mask_overlap", "points_in_mask"),
    Spans: ("span_overlap", "temporal"),
    Grounded: ("grounded", "temporal"),
}
"""Metrics to name for a kind of reference."""
OF_WORDS = ("exact_match", "anls", "relaxed", "plain", "vqa", "choice", "vsi")
"""Beginnings of the names of metrics that read words or letters, and nothing else."""


def check_fit(
    metric: str,
    tasks: Sequence[Task],
    says: Callable[[Task], Sequence[str]] = accepted,
) -> None:
    """Refuse a metric by which the first question's own reference is wrong.

    Every answer would be wrong by it, and the number would look like the policy's.

    Args:
        metric: Registered name.
        tasks: The questions; the first one is opened.
        says: A reference as answers.

    Raises:
        DataError: Names the metrics that could be meant.
        UnknownName: No such metric.
    """
    rule = metrics.get(metric)
    try:
        task = tasks[0]
    except (DataError, MediaError, IndexError):
        return  # told when it is played
    answers = says(task)
    best = max((scored(rule, a, task)[0] for a in answers), default=0.0)
    if best > 0 or (not answers and not metric.startswith(OF_WORDS)):
        return
    kind = type(task.reference)
    names = [n for n in READERS.get(kind, ()) if n != metric]
    meant = f"; {', '.join(names)} could" if names else ""
    raise DataError(
        f"the metric {metric!r} cannot read what task {task.id!r} wants ({kind.__name__}){meant}: "
        "choose with --metric, or keep answers alone with --predict-only"
    )
