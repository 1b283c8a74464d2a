"""What detectors answer with, and the suppression of boxes that say the same thing twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Box, clamp
from vtool.tool import Finding


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that a detector sees.

    Args:
        box: Where, in unit coordinates.
        label: What it is.
        score: How sure the detector is, 0 to 1.
    """

    box: Box
    label: str
    score: float

    def finding(self) -> Finding:
        """As a tool tells it."""
        return Finding(self.box, self.label, self.score)


def unit_box(corners: NDArray[np.floating], width: float, height: float) -> Box | None:
    """The part of a box (x1, y1, x2, y2) that lies in a picture; None where nothing does.

    Args:
        corners: Of the box, in any unit, (4,).
        width: Of the picture, in that unit.
        height: Of the picture, in that unit.
    """
    x1, x2 = (clamp(float(v) / width) for v in corners[[0, 2]])
    y1, y2 = (clamp(float(v) / height) for v in corners[[1, 3]])
    return Box(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def suppress(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], overlap: float
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        overlap: A box goes where a surer one shares more than this much of their union.

    Returns:
        Indices of those kept, the surest first; equal scores in the order given.
    """
    order = np.argsort(-scores, kind="stable")
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas = sides[:, 0] * sides[:, 1]
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[best] + areas[order] - shared
        order = order[shared <= overlap * union]
    return np.asarray(kept, np.intp)


def surest(found: Iterable[Detection], most: int) -> list[Detection]:
    """The surest ones first, at most so many; equal ones from left to right."""
    ranked = sorted(found, key=lambda d: (-d.score, d.label, d.box.x1, d.box.y1))
    return ranked[:most]
