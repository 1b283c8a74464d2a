"""Metrics of places in plain numbers: overlap of boxes, and points in boxes and masks.

Corners are x1 y1 x2 y2 in any unit, as long as both sides use the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corners: TypeAlias = Sequence[float]
Pixels: TypeAlias = NDArray[np.bool_]


def box_area(box: Corners) -> float:
    """Signed area: negative where one side is inverted."""
    return (box[2] - box[0]) * (box[3] - box[1])


def is_box(box: Corners) -> bool:
    """Whether the corners are in order and enclose an area."""
    return box[0] < box[2] and box[1] < box[3]


def box_iou(a: Corners, b: Corners, *, as_published: bool = False) -> float:
    """Intersection over union, without adding 1 to a side.

    An inverted or empty box overlaps with nothing. As published, its (negative) area enters the
    union, which can push the ratio above 1 or below 0; nothing over nothing is an error there
    and 0 here.

    Source: lmms-eval 0.7.3, RefCOCO and ScreenSpot comprehension.
    """
    if not as_published and not (is_box(a) and is_box(b)):
        return 0.0
    shared = _shared(a, b)
    union = box_area(a) + box_area(b) - shared
    return shared / union if union else 0.0


def box_giou(a: Corners, b: Corners) -> float:
    """Generalised IoU, in (-1, 1]: the share of the hull that neither covers is taken off.

    Inverted or empty boxes give -1, the worst.

    Source: Rezatofighi et al. 2019, algorithm 1.
    """
    if not (is_box(a) and is_box(b)):
        return -1.0
    shared = _shared(a, b)
    union = box_area(a) + box_area(b) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (hull - union) / hull


def _shared(a: Corners, b: Corners) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def point_in_box(x: float, y: float, box: Corners) -> bool:
    """Whether a point lies in a box; its border counts as inside."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def center_in_box(found: Corners, wanted: Corners) -> bool:
    """Whether the middle of the found box lies in the wanted one."""
    return point_in_box((found[0] + found[2]) / 2, (found[1] + found[3]) / 2, wanted)


def share_in_mask(
    points: Sequence[tuple[float, float]], mask: Pixels, *, as_published: bool = False
) -> float:
    """Share of points that lie in a mask; those outside the picture are misses, none is 0.

    Args:
        points: Unit coordinates.
        mask: bool (H, W) over the unit square.
        as_published: See `point_in_mask`.

    Source: RoboRefer's RefSpatial-Bench evaluation.
    """
    hits = [point_in_mask(x, y, mask, as_published=as_published) for x, y in points]
    return sum(hits) / len(hits) if hits else 0.0


def point_in_mask(x: float, y: float, mask: Pixels, *, as_published: bool = False) -> bool:
    """Whether a point in unit coordinates falls on a set cell; the far border falls on none.

    The cell is the product with the side, its fraction cut off. As published, a point less than
    one cell outside the near border falls on the first cell for that reason.
    """
    if not as_published and min(x, y) < 0:
        return False
    column, row = int(x * mask.shape[1]), int(y * mask.shape[0])
    inside = 0 <= column < mask.shape[1] and 0 <= row < mask.shape[0]
    return inside and bool(mask[row, column])
