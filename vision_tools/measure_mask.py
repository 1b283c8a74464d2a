"""The measure_mask tool: area, centre and extent of a mask."""

from __future__ import annotations

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask, Point
from vtool.tool import Finding, Observation, tool


@tool
def measure_mask(mask: Mask) -> Observation:
    """Measure a mask: its share of the picture, its pixels, its box and its centre.

    Args:
        mask: Name of the mask.
    """
    cells = mask.cells
    if not cells.any():
        raise ModelFault(FaultCode.BAD_ARGS, "the mask is empty: nothing to measure", field="mask")
    ys, xs = np.nonzero(cells)
    height, width = cells.shape
    centre = Point(float((xs.mean() + 0.5) / width), float((ys.mean() + 0.5) / height))
    facts = {"share": round(mask.area, 4), "pixels": int(cells.sum())}
    return Observation(
        found=(Finding(mask.box(), "extent", facts=facts), Finding(centre, "centre of mass"))
    )
