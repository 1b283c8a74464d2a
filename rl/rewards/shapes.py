"""R3, boxes and masks: graded outcomes for tasks whose answer is a place.

Parts read `Episode.reading`, in unit coordinates of the source: a box named on a crop counts
where it lies on the user's picture. They answer None where the task's reference is of another
kind, and 0 where the answer could not be read as places.
"""

from __future__ import annotations

from collections.abc import Sequence

from vtool.geometry import Box, Mask
from vtool.located import Named, last_mask, named
from vtool.record import Episode
from vtool.reward import reward
from vtool.shape_metrics import (
    any_grid_iou,
    hull_iou,
    matched_iou,
    matched_mask_iou,
    mean_best_iou,
)
from vtool.shaping import rescaled, stepped
from vtool.task import Boxes, Masks, Points, Task

THRESHOLDS = (0.5, 0.7, 0.8)
STEPS = (1.0, 2.0, 3.0)


@reward("box_iou")
def box_iou(episode: Episode, task: Task) -> float | None:
    """Sum of IoU over the best matching of named and wanted boxes, over the larger count.

    Source: mean IoU with the count term that a set needs; for one box it is plain IoU.
    """
    if not isinstance(task.reference, Boxes):
        return None
    found = named(episode, task)
    if found is None:
        return 0.0
    score = matched_iou(found.boxes, task.reference.boxes)
    return score * _counted(found, len(task.reference.boxes))


@reward("box_iou_best")
def box_iou_best(episode: Episode, task: Task) -> float | None:
    """Mean over named boxes of the best IoU with a wanted one.

    Source: SpaceTools, R = mean_i max_j IoU. Trap: it is like precision; naming a right box twice
    or leaving four of five out costs nothing. Weigh `box_count` beside it, or use `box_iou`.
    """
    if not isinstance(task.reference, Boxes):
        return None
    found = named(episode, task)
    if found is None:
        return 0.0
    mean = mean_best_iou(found.boxes, task.reference.boxes)
    return mean * len(found.boxes) / found.count if found.count else mean


@reward("box_count")
def box_count(episode: Episode, task: Task) -> float | None:
    """Min / max of the numbers of named and wanted boxes; 1 where there are as many.

    Source: the count term beside SpaceTools' box reward.
    """
    if not isinstance(task.reference, Boxes):
        return None
    found = named(episode, task)
    return same_count(0 if found is None else found.count, len(task.reference.boxes))


@reward("box_iou_stepped")
def box_iou_stepped(
    episode: Episode,
    task: Task,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    points: Sequence[float] = STEPS,
) -> float | None:
    """Points by the highest threshold that `box_iou` exceeds.

    Source: Ophiuchus' steps (> .8: 3, > .7: 2, > .5: 1, else 0), for boxes. Trap: strict, IoU .80
    is worth 2.
    """
    score = box_iou(episode, task)
    return None if score is None else stepped(score, thresholds, points)


@reward("box_iou_rescaled")
def box_iou_rescaled(
    episode: Episode, task: Task, *, low: float = 0.2, high: float = 0.8
) -> float | None:
    """`box_iou` stretched so that `low` is 0 and `high` is 1.

    Source: VITAL / DGRPO, S = clamp((IoU - a) / (b - a), 0, 1), for boxes.
    """
    score = box_iou(episode, task)
    return None if score is None else rescaled(score, low, high)


@reward("mask_iou")
def mask_iou(episode: Episode, task: Task) -> float | None:
    """Sum of IoU over the best matching of named and wanted masks, over the larger count.

    Source: reasoning segmentation's IoU, with the count term. Trap: grids may differ (a mask of a
    crop); both are sampled at the finer one.
    """
    if not isinstance(task.reference, Masks):
        return None
    found = named(episode, task)
    if found is None:
        return 0.0
    score = matched_mask_iou(found.masks, task.reference.masks)
    return score * _counted(found, len(task.reference.masks))


@reward("mask_iou_last")
def mask_iou_last(episode: Episode, task: Task) -> float | None:
    """IoU of the mask that a tool made last with the wanted one, whatever the answer names.

    Source: Ophiuchus (the last mask produced). Trap: it rewards a mask that the policy never chose;
    the best of several wanted masks counts.
    """
    if not isinstance(task.reference, Masks):
        return None
    made = last_mask(episode, task).masks
    marks = [any_grid_iou(made[0], m) for m in task.reference.masks] if made else []
    return max(marks, default=0.0)


@reward("mask_iou_stepped")
def mask_iou_stepped(
    episode: Episode,
    task: Task,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    points: Sequence[float] = STEPS,
) -> float | None:
    """Points by the highest threshold that `mask_iou_last` exceeds.

    Source: Ophiuchus, S_ans for segmentation. Trap: strict, IoU .80 is worth 2, .81 is worth 3.
    """
    score = mask_iou_last(episode, task)
    return None if score is None else stepped(score, thresholds, points)


@reward("pose_hull_iou")
def pose_hull_iou(episode: Episode, task: Task) -> float | None:
    """IoU of the hulls of eight named and eight wanted projected corners, else 0.

    Source: SpaceTools' pose reward. Trap: 0 unless both have exactly 8 points.
    """
    if not isinstance(task.reference, Points):
        return None
    found = named(episode, task)
    wanted = [(p.x, p.y) for p in task.reference.points]
    given = [] if found is None else [(p.x, p.y) for p in found.points]
    return hull_iou(given, wanted) if len(given) == len(wanted) == 8 else 0.0


def same_count(given: int, wanted: int) -> float:
    """Min / max of two counts; 1 where both are 0."""
    return min(given, wanted) / max(given, wanted) if max(given, wanted) else 1.0


def area_of(task: Task) -> Box | Mask | None:
    """The area that holds the answer: the innermost evidence, where it is a box or mask."""
    shape = task.evidence[-1].shape if task.evidence else None
    return shape if isinstance(shape, Box | Mask) else None


def _counted(found: Named, wanted: int) -> float:
    """Places that went astray count as named ones that fit nothing."""
    kept = max(len(found.shapes), wanted)
    return kept / max(found.count, wanted) if found.astray else 1.0
