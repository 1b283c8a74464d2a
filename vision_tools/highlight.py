"""The highlight tool: some parts of a picture stand out, the rest is dimmed."""

from __future__ import annotations

import numpy as np

from vtool.geometry import Box, Mask
from vtool.media import Image
from vtool.tool import Observation, Way, tool

from .limits import check_range
from .selection import selected


@tool
def highlight(
    image: Image,
    boxes: list[Box] | None = None,
    mask: Mask | None = None,
    dim: float = 0.6,
) -> Observation:
    """Make parts of a picture stand out: all the rest becomes darker, but can still be seen.

    Args:
        image: Picture to look at.
        boxes: The parts, as boxes, at most 64.
        mask: The part, as a mask of this picture.
        dim: How much of the brightness the rest loses, 0.1 to 0.9.
    """
    check_range("dim", dim, 0.1, 0.9)
    rest = ~selected(image, boxes, mask)
    darker = np.round(np.arange(256) * (1 - dim)).astype(np.uint8)
    pixels = image.pixels.copy()
    pixels[rest] = darker[pixels[rest]]
    return Observation((Image(pixels),), ways=((Way(image),),))
