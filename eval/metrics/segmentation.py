"""Masks: gIoU and cIoU of reasoning segmentation, region and boundary quality of video objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Cells in both masks, and in either."""

    shared: int
    union: int

    def iou(self, *, as_published: bool = False) -> float:
        """Share of the union that is shared; 1 where neither mask holds anything.

        As published, 1e-5 is added to the union, so that a perfect mask has less than 1.

        Source: LISA (Lai et al. 2024), `validate`.
        """
        if self.union == 0:
            return 1.0
        return self.shared / (self.union + (1e-5 if as_published else 0.0))


def overlap(found: Cells, wanted: Cells, ignored: Cells | None = None) -> Overlap:
    """Count cells of two masks of one grid, bool (H, W); ignored ones count on neither side.

    Raises:
        ValueError: The grids differ.
    """
    if found.shape != wanted.shape:
        raise ValueError(f"masks differ in grid: {found.shape} and {wanted.shape}")
    keep = np.ones(wanted.shape, bool) if ignored is None else ~ignored
    return Overlap(int((found & wanted & keep).sum()), int(((found | wanted) & keep).sum()))


def segmentation_table(
    overlaps: Sequence[Overlap], *, as_published: bool = False
) -> dict[str, float]:
    """Mean IoU of pictures (gIoU) and of cells (cIoU).

    gIoU is the mean of the pictures' IoU; cIoU all shared cells over all united ones, called oIoU
    for RefCOCO. As published, 1e-10 is added to its union.

    Source: LISA (Lai et al. 2024), section 5.1 and `validate`.
    """
    if not overlaps:
        return {"gIoU": 0.0, "cIoU": 0.0}
    giou = math.fsum(o.iou(as_published=as_published) for o in overlaps) / len(overlaps)
    shared, union = sum(o.shared for o in overlaps), sum(o.union for o in overlaps)
    if as_published:
        return {"gIoU": giou, "cIoU": shared / (union + 1e-10)}
    return {"gIoU": giou, "cIoU": shared / union if union else 1.0}
