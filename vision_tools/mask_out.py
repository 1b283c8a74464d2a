"""The mask_out tool: parts of a picture hidden."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFilter

from vtool.geometry import Box, Mask
from vtool.media import Image
from vtool.tool import Observation, Way, tool

from .selection import selected

_FILLS = {"black": 0, "grey": 128, "white": 255}
_BLUR = 24
"""The blur's radius is the shorter side through this: words and faces can no longer be told."""


@tool
def mask_out(
    image: Image,
    boxes: list[Box] | None = None,
    mask: Mask | None = None,
    hide: Literal["inside", "outside"] = "inside",
    fill: Literal["black", "grey", "white", "blur"] = "black",
) -> Observation:
    """Hide parts of a picture, or all but these parts, so that the rest is looked at alone.

    Args:
        image: Picture to hide parts of.
        boxes: The parts, as boxes, at most 64.
        mask: The part, as a mask of this picture.
        hide: Whether what lies inside the parts is hidden or what lies outside.
        fill: What is seen instead.
    """
    inside = selected(image, boxes, mask)
    hidden = inside if hide == "inside" else ~inside
    pixels = image.pixels.copy()
    pixels[hidden] = blurred(image)[hidden] if fill == "blur" else _FILLS[fill]
    return Observation((Image(pixels),), ways=((Way(image),),))


def blurred(image: Image) -> NDArray[np.uint8]:
    """The picture out of focus, uint8 (H, W, 3)."""
    paper = PILImage.fromarray(image.pixels)
    return np.asarray(paper.filter(ImageFilter.GaussianBlur(max(2, min(image.size) / _BLUR))))
