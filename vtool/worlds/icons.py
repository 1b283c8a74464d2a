"""Small icons that a first look cannot tell apart, and a detector that finds them.

An icon is 12x12 pixels, made of cells of 2x2 pixels, half of which are dark: from afar every icon
is the same grey spot, and what differs is which half.

The detector compares pixels with the icons' bitmaps. It stands in for a learned detector, whose
published weights know no such icons: what it finds is in the picture, its finding is exact. It
carries the name and the arguments of the real `detect`, and the version `rendered-1`, which every
record of an episode holds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.observation import Finding, Observation
from vtool.tool import Tool, choose

from .drawing import Pixels
from .hidden import BLOCK

SIDE: Final = 2 * BLOCK
_CELLS: Final = {
    "bars": (((1, 1), (0, 0)), -1),
    "checks": (((1, 0), (0, 1)), 1),
    "knots": (((1, 0), (0, 1)), 0),
    "posts": (((1, 0), (1, 0)), -1),
}
"""The first cell of each kind, and how its neighbour is turned."""
KINDS: Final = tuple(_CELLS)
INK: Final = 40
ABOUT: Final = (
    "Find icons in a picture: bars, checks, knots or posts. Stands in for a learned detector: it "
    "compares pixels with the icons' bitmaps."
)


@cache
def icon(kind: str) -> NDArray[np.bool_]:
    """Bitmap of an icon, true where it is dark: two pixels of each 2x2 cell."""
    cell, turn = _CELLS[kind]
    first = np.array(cell, bool)
    second = first[::turn, ::turn] if turn else ~first
    # Neighbours are turned against each other, so that no icon is darker on one side.
    pair = np.block([[first, second], [second, first]])
    return np.tile(pair, (SIDE // 4, SIDE // 4))


def stamp(pixels: Pixels, kind: str, at: tuple[int, int]) -> None:
    """Draw an icon with its upper left corner at x and y, in place."""
    x, y = at
    pixels[y : y + SIDE, x : x + SIDE][icon(kind)] = INK


def find_icons(pixels: Pixels, kind: str) -> list[tuple[int, int]]:
    """Upper left corners, x and y, of all icons of a kind, in reading order."""
    dark = pixels.max(2) == INK
    bitmap = icon(kind)
    # Only where as many pixels are dark as in the icon is it worth to compare them.
    sums = np.pad(dark.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[SIDE:, SIDE:] - sums[:-SIDE, SIDE:] - sums[SIDE:, :-SIDE] + sums[:-SIDE, :-SIDE]
    near = np.argwhere(inside == bitmap.sum())
    return [
        (int(x), int(y))
        for y, x in near
        if np.array_equal(dark[y : y + SIDE, x : x + SIDE], bitmap)
    ]


def icon_detector() -> Tool:
    """The stand-in under the name of the real tool."""
    real = choose("detect")

    def detect(image: Image, labels: list[str] | None = None) -> Observation:
        asked = list(KINDS) if labels is None else labels
        for label in asked:
            if label not in KINDS:
                raise ModelFault(
                    FaultCode.BAD_ARGS,
                    f"expected kinds out of {', '.join(KINDS)}, got {label[:40]!r}",
                    field="labels",
                )
        found = [
            Finding(_box(at, image), kind, 1.0)
            for kind in dict.fromkeys(asked)
            for at in find_icons(image.pixels, kind)
        ]
        words = "" if found else f"no {' or '.join(asked)} found"
        return Observation(text=words, found=tuple(found))

    params = tuple(
        replace(p, description='Kinds to look for, such as ["bars"]; all where left out.')
        if p.name == "labels"
        else p
        for p in real.spec.params
    )
    spec = replace(real.spec, description=ABOUT, params=params, version="rendered-1", needs=())
    return replace(real, spec=spec, fn=detect, settings=None, settings_arg=None)


def _box(at: tuple[int, int], image: Image) -> Box:
    width, height = image.size
    return Box(at[0] / width, at[1] / height, (at[0] + SIDE) / width, (at[1] + SIDE) / height)
