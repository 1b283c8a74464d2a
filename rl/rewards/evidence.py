"""Evidence: did the deciding look cover what holds the answer, in the source's coordinates?"""

from __future__ import annotations

from vtool.evidence import look_and_target
from vtool.geometry import coverage, iou
from vtool.record import Episode
from vtool.reward import reward
from vtool.task import Task


@reward("evidence_iou")
def evidence_iou(episode: Episode, task: Task) -> float | None:
    """IoU of the deciding look with the target; None where the task has no target."""
    seen, wanted = look_and_target(episode, task)
    if wanted is None:
        return None
    return iou(seen, wanted) if seen is not None else 0.0


@reward("evidence_coverage")
def evidence_coverage(episode: Episode, task: Task) -> float | None:
    """Share of the target that the deciding look covers; None where there is no target."""
    seen, wanted = look_and_target(episode, task)
    if wanted is None:
        return None
    return coverage(wanted, seen) if seen is not None else 0.0
