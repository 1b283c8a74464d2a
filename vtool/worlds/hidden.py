"""Textures that a first look cannot see: every block that it shows as one pixel has one mean.

A picture of 384x384 pixels is first shown at 64x64, six to one. What is drawn here keeps the mean
of every 6x6 block, on a grid of such blocks, so that the first look shows plain grey, and the
original holds what a tool needs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .drawing import Color, Pixels
from .program import VIEW

SIDE: Final = 384
BLOCK: Final = SIDE // VIEW
BLOCKS: Final = VIEW
GREY: Final = 128


def noise(rng: np.random.Generator, blocks: tuple[int, int], strength: int = 70) -> Pixels:
    """Grey noise whose every block has the mean `GREY`.

    Args:
        rng: Draws it.
        blocks: Width and height in blocks.
        strength: Largest step from the mean.
    """
    width, height = blocks
    half = rng.integers(1, strength + 1, (height, width, BLOCK * BLOCK // 2))
    values = np.concatenate([half, -half], axis=2)
    values = rng.permuted(values, axis=2).reshape(height, width, BLOCK, BLOCK)
    plane = GREY + values.transpose(0, 2, 1, 3).reshape(height * BLOCK, width * BLOCK)
    return np.repeat(plane.astype(np.uint8)[:, :, None], 3, axis=2)


def checks(cells: NDArray[np.bool_], color: Color) -> tuple[NDArray[np.bool_], Pixels]:
    """A shape of whole blocks in a colour and its complement, whose mean is grey.

    Args:
        cells: Blocks of the shape, (`BLOCKS`, `BLOCKS`).
        color: One of the two.

    Returns:
        The shape's pixels, and what to paint there.
    """
    mask = np.kron(cells, np.ones((BLOCK, BLOCK), bool))
    ys, xs = np.indices(mask.shape)
    first = ((ys // (BLOCK // 2) + xs // (BLOCK // 2)) % 2 == 0)[:, :, None]
    other = 2 * GREY - 1 - np.array(color, np.int64)
    return mask, np.where(first, np.array(color), other).astype(np.uint8)


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
