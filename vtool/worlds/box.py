"""Box world: the answer is a place that only a closer look tells.

Three discs of different colours carry different digits, too small to be read in the first look.
The question names a digit and wants the box of its disc: a policy finds the discs at first sight
and looks closer until it knows which one is meant.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from .drawing import COLORS, PALETTE, draw_disc, light_color, plain_background
from .eyes import colors_in, grown, read_digit, thousandths
from .files import Sample, maker, redraw
from .program import Look, Seen, Use
from .world import World
from .zoom import FIXED, GRID, Split, digest

DISCS = 3


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """Three discs, one of whose digits is asked for."""

    def plan() -> tuple[str, tuple[list[str], list[int]]]:
        colors = [COLORS[i] for i in rng.permutation(len(COLORS))[:DISCS]]
        cells = [int(c) for c in rng.permutation(GRID * GRID)[:DISCS]]
        return digest(("box", sorted(zip(colors, cells, strict=True)))), (colors, cells)

    layout, (colors, cells) = redraw(plan, split)
    _, backdrop = redraw(lambda: _backdrop(rng), split)
    pixels = plain_background(FIXED, backdrop)
    digits, side = rng.permutation(10)[:DISCS], FIXED[0] / GRID
    boxes = []
    for color, cell, digit in zip(colors, cells, digits, strict=True):
        radius = float(rng.uniform(19, 23))
        slack = side / 2 - radius - 2
        x, y = (
            float(c * side + side / 2 + rng.uniform(-slack, slack))
            for c in (cell % GRID, cell // GRID)
        )
        draw_disc(pixels, (x, y), radius, PALETTE[color], int(digit), 2)
        boxes.append(
            (int(x - radius), int(y - radius), int(np.ceil(x + radius)), int(np.ceil(y + radius)))
        )
    at = int(rng.integers(DISCS))
    question = f"where is the circle with the digit {digits[at]}?"
    return Sample(
        (pixels,),
        question,
        {"boxes": [[float(v) for v in boxes[at]]]},
        layout,
        (boxes[at],),
        "box",
        {"color": colors[at], "digit": int(digits[at])},
    )


def _backdrop(rng: np.random.Generator) -> tuple[str, tuple[int, int, int]]:
    color = light_color(rng)
    return digest(color), color


def best(look: Look) -> Generator[Use, Seen, str]:
    """Look at one disc after the other until its digit is the one; the last needs no look."""
    wanted = look.words.rstrip("?").split()[-1]
    boxes = list(colors_in(look.pictures[0]).values())
    order = [boxes[i] for i in look.rng.permutation(len(boxes))]
    for box in order[:-1]:
        seen = yield Use("zoom", image=1, box=thousandths(grown(box, 1.25)))
        if not seen.pictures:
            break
        if read_digit(seen.pictures[0]) == wanted:
            return str(thousandths(box))
    return str(thousandths(order[-1])) if order else guess(look.words, look.rng)


def guess(words: str, rng: np.random.Generator) -> str:
    """The box of any disc's usual size, anywhere."""
    x, y = rng.uniform(0, 0.89, 2)
    return str(thousandths((float(x), float(y), float(x) + 0.11, float(y) + 0.11)))


BOX = World(
    name="box",
    about="Answer with the box of the disc that carries a digit, after closer looks.",
    make=maker("box", draw),
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=1 / DISCS,
    note="chance is that of a guess among the three discs of the first look",
)
