"""Textures that a first look cannot see: what is fine enough leaves one grey behind.

A picture of 384x384 pixels is first shown at 64x64, six to one. What is drawn here is made of
cells of 2x2 pixels, two of them above grey and two as much below it, in the corners: a smooth
reduction leaves little of that but grey, and the original holds what a tool needs. What is left of
faint cells is below half a level and rounds to the same grey.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .drawing import Color, Pixels
from .program import VIEW

SIDE: Final = 384
BLOCK: Final = SIDE // VIEW
"""Pixels of a side that the first look shows as one."""
BLOCKS: Final = VIEW
GREY: Final = 128
CELL: Final = 2
FAINT: Final = 20
"""Largest step of the noise from grey; the smallest is half of it."""
_CORNERS: Final = np.array([[1, -1], [-1, 1]])


def noise(rng: np.random.Generator, side: int = SIDE) -> Pixels:
    """Grey noise, (side, side, 3): cells of random sign and contrast whose mean is `GREY`.

    Every pixel of a first look at it is `GREY`. Stronger noise leaves some a level off, and two
    pictures of the same noise can be matched by these.

    Args:
        rng: Draws it.
        side: In pixels, even.
    """
    steps = rng.integers(FAINT // 2, FAINT + 1, (side // CELL, side // CELL))
    signs = rng.choice([-1, 1], steps.shape)
    plane = GREY + np.kron(steps * signs, _CORNERS)
    return np.repeat(plane.astype(np.uint8)[:, :, None], 3, axis=2)


def checks(cells: NDArray[np.bool_], color: Color) -> tuple[NDArray[np.bool_], Pixels]:
    """A shape of whole blocks in a colour and its complement, pixel by pixel: grey from afar.

    Args:
        cells: Blocks of the shape, (`BLOCKS`, `BLOCKS`).
        color: One of the two.

    Returns:
        The shape's pixels, and what to paint there.
    """
    mask = np.kron(cells, np.ones((BLOCK, BLOCK), bool))
    step = np.array(color, np.int64) - GREY
    signs = np.kron(np.ones_like(cells, np.int64), np.tile(_CORNERS, (BLOCK // CELL,) * 2))
    return mask, (GREY + signs[:, :, None] * step).astype(np.uint8)


def ring(pixels: Pixels, center: tuple[int, int], radii: tuple[float, float], color: Color) -> None:
    """Draw a ring, in place: a mark that leaves what lies inside as it is.

    Args:
        pixels: (H, W, 3) canvas.
        center: x and y in pixels.
        radii: Inner and outer.
        color: Of the ring.
    """
    x, y = center
    ys, xs = np.indices(pixels.shape[:2])
    away = np.hypot(xs + 0.5 - x, ys + 0.5 - y)
    pixels[(away >= radii[0]) & (away < radii[1])] = color
