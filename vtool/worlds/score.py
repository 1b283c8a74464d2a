"""Whether an episode answers its task: yes or no, so that shares have intervals."""

from __future__ import annotations

from vtool.geometry import Box, iou
from vtool.metrics import exact_match
from vtool.record import Episode
from vtool.task import Answer, Boxes, Grounded, Spans, Task
from vtool.temporal_score import span_score, words_score

HALF = 0.5
"""Overlap from which a box or a span counts as found."""


def right(task: Task, episode: Episode) -> bool:
    """Words must be equal after normalising; a box or a span must overlap by one half.

    Raises:
        TypeError: The task wants something else: give the world a `right` of its own.
    """
    wanted = task.reference
    if isinstance(wanted, Boxes):
        return _box(wanted, episode)
    if isinstance(wanted, Spans | Grounded):
        words, span = words_score(episode.answer, task), span_score(episode.answer, task)
        return (words is None or words == 1.0) and span is not None and span >= HALF
    if isinstance(wanted, Answer):
        return exact_match(episode.answer, wanted.texts) == 1.0
    raise TypeError(f"task {task.id}: a {type(wanted).__name__} is not scored here")


def _box(wanted: Boxes, episode: Episode) -> bool:
    regions = episode.reading.regions if episode.reading is not None else ()
    named = [r.shape for r in regions if isinstance(r.shape, Box)]
    return len(named) == len(regions) == 1 and iou(named[0], wanted.boxes[0]) >= HALF
