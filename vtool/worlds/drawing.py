"""Shapes of the zoom world: discs that carry a digit, coloured frames, backgrounds.

Everything is drawn with numpy on (H, W, 3) uint8 arrays, so that thousands of pictures take
seconds and every pixel is a function of the seed.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]

PALETTE: Final[dict[str, Color]] = {
    "red": (225, 45, 45),
    "orange": (250, 150, 25),
    "yellow": (240, 225, 40),
    "green": (50, 175, 70),
    "cyan": (60, 210, 225),
    "blue": (70, 95, 235),
    "purple": (150, 60, 190),
    "pink": (250, 140, 195),
}
COLORS: Final[tuple[str, ...]] = tuple(PALETTE)

_ROWS: Final[dict[int, str]] = {
    0: ".###. #...# #..## #.#.# ##..# #...# .###.",
    1: "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
    2: ".###. #...# ....# ...#. ..#.. .#... #####",
    3: "##### ...#. ..#.. ...#. ....# #...# .###.",
    4: "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    5: "##### #.... ####. ....# ....# #...# .###.",
    6: "..##. .#... #.... ####. #...# #...# .###.",
    7: "##### ....# ...#. ..#.. .#... .#... .#...",
    8: ".###. #...# #...# .###. #...# #...# .###.",
    9: ".###. #...# #...# .#### ....# ...#. .##..",
}


@cache
def glyph(digit: int, scale: int = 1) -> NDArray[np.bool_]:
    """Bitmap of a digit, (7 * scale, 5 * scale), true where there is ink."""
    rows = [[cell == "#" for cell in row] for row in _ROWS[digit].split()]
    return np.kron(np.array(rows), np.ones((scale, scale), bool)).astype(bool)


def draw_disc(
    pixels: Pixels, center: tuple[float, float], radius: float, color: Color, digit: int, scale: int
) -> None:
    """Draw an anti-aliased disc with a black digit in its middle, in place.

    Args:
        pixels: (H, W, 3) canvas.
        center: x and y in pixels.
        radius: In pixels.
        color: Fill of the disc.
        digit: 0 to 9.
        scale: Pixels per bitmap cell of the digit.
    """
    cx, cy = center
    x0, y0 = max(0, int(cx - radius) - 1), max(0, int(cy - radius) - 1)
    patch = pixels[y0 : int(cy + radius) + 3, x0 : int(cx + radius) + 3]
    xs = np.arange(patch.shape[1], dtype=np.float32) + (x0 + 0.5 - cx)
    ys = np.arange(patch.shape[0], dtype=np.float32) + (y0 + 0.5 - cy)
    distance = np.sqrt(xs * xs + (ys * ys)[:, None])
    alpha = np.clip(radius - distance + 0.5, 0.0, 1.0)[..., None]
    patch[:] = np.rint(patch * (1 - alpha) + np.array(color) * alpha).astype(np.uint8)
    ink = glyph(digit, scale)
    top, left = round(cy - ink.shape[0] / 2), round(cx - ink.shape[1] / 2)
    pixels[top : top + ink.shape[0], left : left + ink.shape[1]][ink] = 0


def draw_frame(
    pixels: Pixels, box: tuple[int, int, int, int], color: Color, border: int, fill: Color
) -> None:
    """Draw a square with a coloured border and a plain interior, in place.

    Args:
        pixels: (H, W, 3) canvas.
        box: Outer edge, xyxy in whole pixels.
        color: Of the border.
        border: Its width in pixels.
        fill: Colour of the interior.
    """
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = plain_background((x2 - x1, 1), color)
    inside = slice(x1 + border, x2 - border)
    pixels[y1 + border : y2 - border, inside] = plain_background((x2 - x1 - 2 * border, 1), fill)


def light_color(rng: np.random.Generator) -> Color:
    """A random light colour, far from every colour of the palette."""
    base = int(rng.integers(205, 246))
    r, g, b = (int(v) for v in base + rng.integers(-9, 10, 3))
    return r, g, b


def plain_background(size: tuple[int, int], color: Color) -> Pixels:
    """One colour everywhere, (H, W, 3)."""
    width, height = size
    row = np.tile(np.array(color, np.uint8), width).reshape(1, width, 3)
    return np.repeat(row, height, axis=0)


def crop_background(photo: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random crop of a photograph, as large as the canvas.

    Args:
        photo: (H, W, 3); one smaller than the canvas is mirrored at its edges first.
        size: Width and height of the canvas.
        rng: Picks the corner.
    """
    width, height = size
    pad = [(0, max(0, height - photo.shape[0])), (0, max(0, width - photo.shape[1])), (0, 0)]
    photo = np.pad(photo, pad, mode="symmetric")
    y = int(rng.integers(0, photo.shape[0] - height + 1))
    x = int(rng.integers(0, photo.shape[1] - width + 1))
    return photo[y : y + height, x : x + width].copy()
