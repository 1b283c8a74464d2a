"""From pixels to patches, in batches: what the tiny policy sees of a picture or a crop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from vtool.worlds.drawing import Pixels

from .spec import SPEC

MINIMUM_SIDE = 16


def shown_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which a picture is shown.

    Source: the published Qwen-VL image processors (sides are multiples of patch * merge, the area
    stays within the bounds where the rounding allows it).
    """
    f = SPEC.factor
    w, h = max(f, round(width / f) * f), max(f, round(height / f) * f)
    if w * h > SPEC.max_pixels:
        beta = math.sqrt(width * height / SPEC.max_pixels)
        return max(f, int(width / beta / f) * f), max(f, int(height / beta / f) * f)
    if w * h < SPEC.min_pixels:
        beta = math.sqrt(SPEC.min_pixels / (width * height))
        return math.ceil(width * beta / f) * f, math.ceil(height * beta / f) * f
    return w, h


def show(pixels: Pixels) -> Pixels:
    """Resize to the shown size: bicubic with antialiasing on uint8."""
    size = shown_size(pixels.shape[1], pixels.shape[0])
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    planes = functional.interpolate(
        planes.contiguous(memory_format=torch.channels_last),
        size=(size[1], size[0]),
        mode="bicubic",
        antialias=True,
    )
    return planes[0].permute(1, 2, 0).contiguous().numpy()


def patchify(views: Sequence[Pixels] | NDArray[np.uint8]) -> torch.Tensor:
    """Cut views of one size into patches.

    Args:
        views: B arrays (H, W, 3) of the same size.

    Returns:
        (B, N, 3 * patch * patch) uint8; the four patches of a merged token are neighbours.
    """
    x = torch.from_numpy(np.stack(list(views)))
    b, h, w, _ = x.shape
    p, m = SPEC.patch, SPEC.merge
    x = x.reshape(b, h // (p * m), m, p, w // (p * m), m, p, 3)
    x = x.permute(0, 1, 4, 2, 5, 7, 3, 6)
    return x.reshape(b, h * w // (p * p), 3 * p * p).contiguous()


def zoom(pixels: Pixels, region: Sequence[float]) -> tuple[Pixels, tuple[int, int, int, int]]:
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
    a, b = max(0, math.floor(low)), min(length, math.ceil(high))
    if b - a < MINIMUM_SIDE:
        side = min(MINIMUM_SIDE, length)
        a = min(max(0, math.floor((a + b - side) / 2)), length - side)
        b = a + side
    return a, b
