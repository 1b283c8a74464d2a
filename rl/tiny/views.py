"""Crops of the original, cut by the same rule as the zoom tool's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vtool.worlds.drawing import Pixels
from vtool.worlds.zoom import PixelBox

MINIMUM_SIDE = 16


def zoom(pixels: Pixels, region: Sequence[float]) -> tuple[Pixels, PixelBox]:
    """Cut a region of the original: rounded outward, at least 16 pixels a side.

    Args:
        pixels: (H, W, 3) original.
        region: xyxy in pixels of the original.

    Returns:
        The crop and the whole-pixel box that was cut.
    """
    height, width = pixels.shape[:2]
    x1, x2 = _side(region[0], region[2], width)
    y1, y2 = _side(region[1], region[3], height)
    return pixels[y1:y2, x1:x2], (x1, y1, x2, y2)


def _side(low: float, high: float, length: int) -> tuple[int, int]:
    if high - low < MINIMUM_SIDE:
        low = min(max(0.0, (low + high - MINIMUM_SIDE) / 2), length - MINIMUM_SIDE)
        high = low + MINIMUM_SIDE
    return max(0, math.floor(low)), min(length, math.ceil(high))
