"""Page world: a needle in a page.

A page is full of digits in rows. A few have a coloured ground, a speck in the first look; the
question asks for the digit on one colour.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final

import numpy as np

from .drawing import COLORS, PALETTE, Pixels, glyph, light_color, plain_background
from .eyes import grown, read_digit, spots, thousandths
from .files import Sample, maker, redraw
from .program import Look, Seen, Use
from .world import World
from .zoom import Split, digest

SIDE: Final = 768
CELL: Final = 32
"""Pixels of one digit's cell: under three in the first look."""
MARKS: Final = 3
_CELLS: Final = SIDE // CELL


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """A page with three coloured cells, one of which is asked about."""

    def plan() -> tuple[str, Any]:
        # Not at the border, where the closest look would be cut.
        inner = (_CELLS - 2) ** 2
        cells = [divmod(int(c), _CELLS - 2) for c in rng.permutation(inner)[:MARKS]]
        colors = [COLORS[i] for i in rng.permutation(len(COLORS))[:MARKS]]
        marks = [(color, (x + 1, y + 1)) for color, (y, x) in zip(colors, cells, strict=True)]
        return digest(("page", sorted(marks))), marks

    layout, marks = redraw(plan, split)
    background, paper = redraw(lambda: _paper(rng), split)
    digits = rng.integers(0, 10, (_CELLS, _CELLS))
    pixels = plain_background((SIDE, SIDE), paper)
    for color, (x, y) in marks:
        pixels[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = PALETTE[color]
    _print(pixels, digits)
    color, (x, y) = marks[int(rng.integers(MARKS))]
    return Sample(
        (pixels,),
        f"what digit is on the {color} ground?",
        {"answer": str(digits[y, x])},
        layout,
        ((x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL),),
        "needle",
        {"background": background, "zooms": 1},
    )


def _paper(rng: np.random.Generator) -> tuple[str, tuple[int, int, int]]:
    color = light_color(rng)
    return digest(color), color


def _print(pixels: Pixels, digits: Any) -> None:
    for y in range(_CELLS):
        for x in range(_CELLS):
            ink = glyph(int(digits[y, x]), 2)
            top, left = y * CELL + 9, x * CELL + 11
            pixels[top : top + ink.shape[0], left : left + ink.shape[1]][ink] = 0


def best(look: Look) -> Generator[Use, Seen, str]:
    """Zoom to the speck of that colour and read."""
    found = re.search(r"on the (\w+) ground", look.words)
    places = spots(look.pictures[0], found[1], 0.8) if found else []
    for place in places[:1]:
        seen = yield Use("zoom", image=1, box=thousandths(_cell(place)))
        if seen.pictures:
            return read_digit(seen.pictures[0]) or guess(look.words, look.rng)
    return guess(look.words, look.rng)


def _cell(place: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The cell of the page that holds the middle of a speck."""
    x, y = (int((place[i] + place[i + 2]) / 2 * _CELLS) for i in (0, 1))
    return grown((x / _CELLS, y / _CELLS, (x + 1) / _CELLS, (y + 1) / _CELLS), 1.0)


def guess(words: str, rng: np.random.Generator) -> str:
    """Any digit."""
    return str(rng.integers(10))


PAGE = World(
    name="page",
    about="Find one of 576 digits on a page by the colour of its ground, and read it.",
    make=maker("page", draw),
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=0.1,
)
