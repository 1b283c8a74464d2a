"""The rotate tool: a picture turned by any angle."""

from __future__ import annotations

import math

from vtool.geometry import Size
from vtool.media import Image
from vtool.tool import Observation, tool

from .limits import check_range, check_result


@tool
def rotate(image: Image, degrees: float) -> Observation:
    """Turn a picture counter-clockwise, for text and things that do not stand upright.

    The canvas grows so that nothing is cut off; its corners are white and lie outside the picture.

    Args:
        image: Picture to turn.
        degrees: Angle counter-clockwise, -360 to 360; negative turns clockwise.
    """
    check_range("degrees", degrees, -360, 360)
    check_result(*turned(image.size, degrees))
    return Observation((image.rotate(degrees),))


def turned(size: Size, degrees: float) -> Size:
    """Sides of the canvas that holds a picture turned so far, rounded up."""
    angle = math.radians(degrees)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    sides = (size[0] * cos + size[1] * sin, size[0] * sin + size[1] * cos)
    width, height = (math.ceil(side - 1e-9) for side in sides)
    return width, height
