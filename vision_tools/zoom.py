"""The zoom tool: look closer at a part of any picture of the episode."""

from __future__ import annotations

import math

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.tool import Observation, tool

MIN_SIDE = 16
"""Smaller cuts grow about their centre to this many pixels of the picture in the store."""
MAX_ASPECT = 200.0
"""Families refuse longer pictures (qwen-vl-utils `MAX_RATIO`)."""


@tool(version="1")
def zoom(image: Image, box: Box) -> Observation:
    """Look closer at a part of a picture.

    The part is cut from the picture's own pixels, not from the smaller size at which it was
    shown. Parts that are too small grow about their centre.

    Args:
        image: Picture to look into.
        box: Part to look at.
    """
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"the picture is {width}x{height} pixels: nothing smaller than {MIN_SIDE} can be cut",
        )
    x0, x1 = grow(box.x1 * width, box.x2 * width, width)
    y0, y1 = grow(box.y1 * height, box.y2 * height, height)
    check_aspect(x1 - x0, y1 - y0)
    used = Box(x0 / width, y0 / height, x1 / width, y1 / height)
    cut = image.crop(used)
    grown = (x1 - x0) > (box.x2 - box.x1) * width + 1e-6 or (y1 - y0) > (
        box.y2 - box.y1
    ) * height + 1e-6
    return Observation(values=(cut,), effective=(used,) if grown else ())


def check_aspect(width: float, height: float) -> None:
    """Refuse parts so long that no family can show them.

    Raises:
        ModelFault: `bad_aspect`.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ModelFault(
            FaultCode.BAD_ASPECT,
            f"the part is {width:.0f}x{height:.0f} pixels: sides differ more than "
            f"{MAX_ASPECT:.0f} times",
        )


def grow(low: float, high: float, limit: int) -> tuple[float, float]:
    """Stretch [low, high] about its centre to `MIN_SIDE`, inside [0, limit]."""
    if high - low >= MIN_SIDE:
        return low, high
    # On whole pixels, so that rounding outward adds no seventeenth one.
    start = min(max(0, math.floor((low + high - MIN_SIDE) / 2)), limit - MIN_SIDE)
    return start, start + MIN_SIDE
