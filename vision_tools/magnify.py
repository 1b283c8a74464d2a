"""The magnify tool: a picture, or a part of it, at another size."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Size
from vtool.media import Image
from vtool.tool import Observation, tool

from .limits import check_range, check_result
from .zoom import MIN_SIDE, zoom

SMALLEST, LARGEST = 0.1, 16.0


@tool
def magnify(image: Image, factor: float = 2.0, box: Box | None = None) -> Observation:
    """Show a picture, or a part of it, larger or smaller.

    Enlarging shows no more than the picture holds, but small things cover more of what is seen.

    Args:
        image: Picture to enlarge.
        factor: How many times as long its sides become, 0.1 to 16; below 1 it shrinks.
        box: Part to enlarge; the whole picture where left out.
    """
    check_range("factor", factor, SMALLEST, LARGEST)
    seen = Observation((image,)) if box is None else zoom(image, box)
    part = seen.values[0]
    size = scaled(part.size, factor)
    check_result(*size)
    return Observation((part.resize(size),), effective=seen.effective)


def scaled(size: Size, factor: float) -> Size:
    """A size that many times as large.

    Raises:
        ModelFault: `too_small`, where too little would be left to see.
    """
    width, height = round(size[0] * factor), round(size[1] * factor)
    if factor < 1 and min(width, height) < MIN_SIDE:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"the result would be {width}x{height} pixels: its sides need {MIN_SIDE} at least",
            field="factor",
        )
    return width, height
