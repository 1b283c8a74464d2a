"""The combine_masks tool: union, intersection and difference of two masks."""

from __future__ import annotations

from typing import Literal

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask, mask_iou
from vtool.tool import Finding, Observation, Way, tool


@tool
def combine_masks(
    first: Mask, second: Mask, how: Literal["union", "intersection", "difference"] = "union"
) -> Observation:
    """Combine two masks of one picture into a new one, and tell how much they share.

    Args:
        first: Name of a mask.
        second: Name of another mask of the same picture.
        how: What is kept; the difference is what lies in the first only.
    """
    a, b = first.cells, second.cells
    if a.shape != b.shape:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected two masks of one picture, got grids of {a.shape[1]}x{a.shape[0]} and "
            f"{b.shape[1]}x{b.shape[0]}",
            field="second",
        )
    cells = {"union": a | b, "intersection": a & b, "difference": a & ~b}[how]
    words = f"the two overlap by {mask_iou(first, second):.3f} (intersection over union)"
    if not cells.any():
        return Observation(text=f"the {how} is empty; {words}")
    made = Mask(cells)
    told = Finding(made.box(), how, of=first, facts={"share": round(made.area, 4)})
    return Observation((made,), words, found=(told,), ways=((Way(first),),))
