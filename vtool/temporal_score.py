"""Scores of an answer about time against its task; None where the task does not ask for that.

Shared by rewards and metrics, so that what is trained is what is measured.
"""

from __future__ import annotations

from vtool.answer_spans import read_spans
from vtool.geometry import Span
from vtool.metrics import exact_match
from vtool.task import Answer, Grounded, Spans, Task
from vtool.temporal import spans_iou


def wanted_spans(task: Task) -> tuple[Span, ...] | None:
    """Spans that an answer should name; None where none is asked for."""
    reference = task.reference
    if isinstance(reference, Grounded):
        return reference.spans.spans
    return reference.spans if isinstance(reference, Spans) else None


def words_score(answer: str | None, task: Task) -> float | None:
    """1 if the words of the answer, its spans taken out, are accepted; else 0."""
    reference = task.reference
    if isinstance(reference, Answer):
        return exact_match(answer, reference.texts)
    if isinstance(reference, Grounded):
        return exact_match(read_spans(answer).words, reference.answer.texts)
    return None


def span_score(answer: str | None, task: Task) -> float | None:
    """Overlap of the spans answered with those wanted; 0 where none can be read."""
    wanted = wanted_spans(task)
    return None if wanted is None else spans_iou(read_spans(answer).spans or (), wanted)


def temporal_score(answer: str | None, task: Task) -> float:
    """Words, overlap, or the mean of both, whichever is asked for: the metric `temporal`."""
    marks = [m for m in (words_score(answer, task), span_score(answer, task)) if m is not None]
    return sum(marks) / len(marks) if marks else 0.0
