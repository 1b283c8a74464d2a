"""Masks laid over pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask
from vtool.media import Image

COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 190, 70),
    "blue": (50, 90, 240),
    "yellow": (245, 205, 30),
    "magenta": (220, 60, 200),
    "cyan": (30, 195, 215),
}


def fitted(mask: Mask, image: Image) -> NDArray[np.bool_]:
    """The cells of a mask on the pixels of a picture (H, W).

    Raises:
        ModelFault: `bad_args` where the two differ in shape by more than rounding.
    """
    if mask.cells.shape == image.pixels.shape[:2]:
        return mask.cells
    check_same_shape(mask, image)
    grey = PILImage.fromarray(mask.cells.astype(np.uint8) * 255)
    return np.asarray(grey.resize(image.size, PILImage.Resampling.NEAREST)) > 127


def check_same_shape(mask: Mask, image: Image) -> None:
    """Refuse a mask that cannot be of this picture, at whatever size it was made.

    Raises:
        ModelFault: `bad_args`.
    """
    (rows, columns), (width, height) = mask.cells.shape, image.size
    # Either side of the mask's grid may be rounded by up to one cell.
    if abs(columns * height - rows * width) > width + height:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected a mask of this picture ({width}x{height}), got one of a picture that is "
            f"{columns}x{rows}",
            hint="name the picture that the mask was made from",
            field="mask",
        )


def lay_over(image: Image, masks: Sequence[Mask], colours: Sequence[str], opacity: float) -> Image:
    """A picture with masks in colour and their edges drawn.

    Args:
        image: What lies below.
        masks: What is laid over it.
        colours: A name for each mask.
        opacity: 0 shows the edges only, 1 hides what lies below.
    """
    out = image.pixels.astype(np.float32)
    for mask, colour in zip(masks, colours, strict=True):
        cells, ink = fitted(mask, image), np.array(COLOURS[colour], np.float32)
        out[cells] = (1 - opacity) * out[cells] + opacity * ink
    for mask, colour in zip(masks, colours, strict=True):
        out[edge(fitted(mask, image))] = COLOURS[colour]
    return Image(out.round().astype(np.uint8))


def edge(cells: NDArray[np.bool_], width: int = 2) -> NDArray[np.bool_]:
    """The rim of a mask, inside it."""
    inner = cells.copy()
    for _ in range(width):
        kept = inner.copy()
        kept[1:] &= inner[:-1]
        kept[:-1] &= inner[1:]
        kept[:, 1:] &= inner[:, :-1]
        kept[:, :-1] &= inner[:, 1:]
        inner = kept
    return cells & ~inner
