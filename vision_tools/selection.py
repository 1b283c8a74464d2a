"""Which pixels of a picture some boxes or a mask choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Size
from vtool.media import Image

from .limits import MOST_PLACES, check_count

Rect: TypeAlias = tuple[int, int, int, int]
"""Whole pixels x0, y0, x1, y1, the last ones left out."""


def whole_pixels(box: Box, size: Size) -> Rect:
    """A box rounded outward to whole pixels, as pictures are cut."""
    width, height = size
    # Unit values of whole pixels come back a rounding error off; do not grow by one for it.
    x0, y0 = math.floor(box.x1 * width + 1e-6), math.floor(box.y1 * height + 1e-6)
    x1, y1 = math.ceil(box.x2 * width - 1e-6), math.ceil(box.y2 * height - 1e-6)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def selected(image: Image, boxes: Sequence[Box] | None, mask: Mask | None) -> NDArray[np.bool_]:
    """Pixels (H, W) inside any of the boxes or the mask; boxes are rounded outward.

    Raises:
        ModelFault: `bad_args`, where nothing is given or the mask is none of this picture's.
    """
    if boxes is None and mask is None:
        raise ModelFault(FaultCode.BAD_ARGS, "expected boxes or a mask, got neither", field="boxes")
    width, height = image.size
    chosen = np.zeros((height, width), np.bool_) if mask is None else spread(mask, image.size)
    check_count("boxes", boxes or (), 0, MOST_PLACES)
    for box in boxes or ():
        x0, y0, x1, y1 = whole_pixels(box, image.size)
        chosen[y0:y1, x0:x1] = True
    return chosen


def spread(mask: Mask, size: Size) -> NDArray[np.bool_]:
    """A mask on the pixels (H, W) of a picture, by the cell in which each pixel's middle lies.

    Raises:
        ModelFault: `bad_args`, where its proportions are not the picture's, or it is empty.
    """
    (width, height), (rows, columns) = size, mask.cells.shape
    check_fits(mask, size)
    down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
    cells: NDArray[np.bool_] = mask.cells[down[:, None], across]
    if not cells.any():
        raise ModelFault(FaultCode.BAD_ARGS, "expected a mask with something set", field="mask")
    return cells


def check_fits(mask: Mask, size: Size) -> None:
    """Refuse the mask of another picture, as far as its proportions tell.

    Raises:
        ModelFault: `bad_args`.
    """
    (width, height), (rows, columns) = size, mask.cells.shape
    # Either grid may have been rounded to whole cells.
    if abs(rows * width - columns * height) > max(width, height, rows, columns):
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected a mask of this {width}x{height} picture, got one of {columns}x{rows} cells",
            hint="name the picture that the mask was made on",
            field="mask",
        )
