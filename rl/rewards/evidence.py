"""Evidence: did the deciding look cover what holds the answer, in the source's coordinates?"""

from __future__ import annotations

from vtool.evidence import look_and_target
from vtool.geometry import coverage, iou
from vtool.record import Episode
from vtool.reward import reward
from vtool.task import Task


@reward("evidence_iou")
def evidence_iou(episode: Episode, task: Task) -> float | None:
    """IoU of the deciding look with the target; None where the task has no target.

    Source: ours; LongVT does the same in time, with its last crop. Trap: only the last look counts,
    so that looking everywhere is worth no more than the place where it ends.
    """
    seen, wanted = look_and_target(episode, task)
    if wanted is None:
        return None
    return iou(seen, wanted) if seen is not None else 0.0


@reward("evidence_coverage")
def evidence_coverage(episode: Episode, task: Task) -> float | None:
    """Share of the target that the deciding look covers; None where there is no target.

    Source: ours. Trap: a look at the whole picture covers everything; `evidence_iou` does not pay
    for that.
    """
    seen, wanted = look_and_target(episode, task)
    if wanted is None:
        return None
    return coverage(wanted, seen) if seen is not None else 0.0
