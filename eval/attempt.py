"""One attempt at one task, boiled down to what a report counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vtool.benchmark import Metric
from vtool.evidence import look_and_target
from vtool.geometry import iou
from vtool.message import Json
from vtool.record import Episode, StopReason
from vtool.statistics import count_episode
from vtool.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one episode came to."""

    task_id: str
    attempt: int
    tags: Mapping[str, Json]
    correct: float
    """The metric, in [0, 1]."""
    stop: StopReason
    calls: int
    valid_calls: int
    turns: int
    tokens: int
    iou: float | None
    """Overlap of the deciding look with the evidence; None where the task names no evidence or
    the policy did not look."""
    looked: bool
    """Whether a tool made a picture that can be followed back to the user's."""
    error: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it says something about the policy (else something of ours broke)."""
        return not broken(self.stop)


def broken(stop: StopReason) -> bool:
    """Whether something of ours failed. Who runs out of the time given is counted as wrong."""
    return stop.ours and stop is not StopReason.TIMEOUT


def judge(episode: Episode, task: Task, attempt: int, metric: Metric) -> Attempt:
    """Count and score a finished episode."""
    if not episode.contexts or broken(episode.stop):
        return _broken(episode, task, attempt)
    counts = count_episode(episode)
    look, wanted = look_and_target(episode, task)
    return Attempt(
        task_id=task.id,
        attempt=attempt,
        tags=task.tags,
        correct=metric(episode.answer, task),
        stop=episode.stop,
        calls=counts.calls,
        valid_calls=counts.valid_calls,
        turns=counts.turns,
        tokens=counts.tokens,
        iou=iou(look, wanted) if look is not None and wanted is not None else None,
        looked=look is not None,
    )


def _broken(episode: Episode, task: Task, attempt: int) -> Attempt:
    return Attempt(
        task_id=task.id,
        attempt=attempt,
        tags=task.tags,
        correct=0.0,
        stop=episode.stop,
        calls=0,
        valid_calls=0,
        turns=0,
        tokens=0,
        iou=None,
        looked=False,
        error=episode.error,
    )
