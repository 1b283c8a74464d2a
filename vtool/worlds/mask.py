"""Mask world: which of two shapes covers more, where only cutting them out tells.

Each shape is a heap of small checks in a colour and its complement, so that the first look shows
plain grey with two marks of equal size. A box around a mark holds its shape; the segmenter, which
separates colours, cuts it out and tells its share of the picture. The tool is real (`segment`
with GrabCut, which needs no weights).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vtool.environment import Limits

from .drawing import COLORS, PALETTE, plain_background
from .eyes import UnitBox, spots, squared, thousandths
from .files import Sample, maker, redraw
from .hidden import BLOCK, BLOCKS, GREY, SIDE, checks
from .program import Look, Seen, Use
from .world import World
from .zoom import Split, digest

SIZES: Final = (45, 90, 135, 180)
"""Blocks of a shape, of 4096: about 1.1, 2.2, 3.3 and 4.4 per cent of the picture."""
REACH: Final = 8
"""Blocks from a mark to the end of its shape, at most."""
MARK: Final = 2
"""Half of a mark's side in blocks."""
BOX: Final = 2.4 * REACH / BLOCKS
"""Side of a box that holds any shape, as a share of the picture."""
_CHECK: Final = (215, 60, 60)


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """Two shapes in two quarters."""

    def plan() -> tuple[str, Any]:
        colors = [COLORS[i] for i in rng.permutation(len(COLORS))[:2]]
        quarters = [int(q) for q in rng.permutation(4)[:2]]
        sizes = [SIZES[i] for i in rng.permutation(len(SIZES))[:2]]
        made = list(zip(colors, quarters, sizes, strict=True))
        return digest(("mask", sorted(made))), made

    layout, shapes = redraw(plan, split)
    pixels = plain_background((SIDE, SIDE), (GREY, GREY, GREY))
    boxes = []
    for color, quarter, size in shapes:
        x, y = _place(rng, quarter)
        cells = _heap(rng, (x, y), size)
        mask, paint = checks(cells, _CHECK)
        pixels[mask] = paint[mask]
        mark = (
            slice((y - MARK) * BLOCK, (y + MARK) * BLOCK),
            slice((x - MARK) * BLOCK, (x + MARK) * BLOCK),
        )
        pixels[mark] = PALETTE[color]
        ys, xs = np.nonzero(mask)
        boxes.append((int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1))
    first, second = (shapes[i][0] for i in rng.permutation(2))
    return Sample(
        (pixels,),
        f"which shape covers more, the {first} or the {second} one?",
        {"answer": max(shapes, key=lambda s: s[2])[0]},
        layout,
        tuple(boxes),
        "area",
        {"blocks": [size for _, _, size in shapes]},
    )


def _place(rng: np.random.Generator, quarter: int) -> tuple[int, int]:
    half, low = BLOCKS // 2, REACH + 3
    x, y = (int(v) for v in rng.integers(low, half - low + 1, 2))
    return x + half * (quarter % 2), y + half * (quarter // 2)


def _heap(rng: np.random.Generator, at: tuple[int, int], size: int) -> NDArray[np.bool_]:
    """Blocks around a mark, grown one by one at the edge; exactly `size` of them."""
    x, y = at
    cells = np.zeros((BLOCKS, BLOCKS), bool)
    cells[y - MARK : y + MARK, x - MARK : x + MARK] = True
    while int(cells.sum()) < size:
        near = np.zeros_like(cells)
        near[y - REACH : y + REACH, x - REACH : x + REACH] = True
        edge = np.zeros_like(cells)
        edge[1:] |= cells[:-1]
        edge[:-1] |= cells[1:]
        edge[:, 1:] |= cells[:, :-1]
        edge[:, :-1] |= cells[:, 1:]
        ys, xs = np.nonzero(edge & near & ~cells)
        pick = int(rng.integers(len(ys)))
        cells[ys[pick], xs[pick]] = True
    return cells


def best(look: Look) -> Generator[Use, Seen, str]:
    """Cut out both, compare what share of the picture each covers."""
    names, shares = _names(look.words), []
    for name in names:
        places = spots(look.pictures[0], name)
        if not places:
            return guess(look.words, look.rng)
        seen = yield Use("segment", image=1, box=thousandths(_around(places[0])))
        told = [f.facts["share"] for f in seen.found if "share" in f.facts]
        if not told:
            return guess(look.words, look.rng)
        shares.append(float(str(told[0])))
    return names[0] if shares[0] > shares[1] else names[1]


def _around(mark: UnitBox) -> UnitBox:
    return squared((mark[0] + mark[2]) / 2, (mark[1] + mark[3]) / 2, BOX)


def guess(words: str, rng: np.random.Generator) -> str:
    """One of the two."""
    return str(rng.choice(_names(words)))


def _names(words: str) -> list[str]:
    found = re.search(r"the (\w+) or the (\w+) one", words)
    return [found[1], found[2]] if found else ["red", "blue"]


MASK = World(
    name="mask",
    about="Which of two shapes covers more: only cutting them out tells.",
    make=maker("mask", draw),
    tools=("segment", "measure_mask"),
    best=best,
    guess=guess,
    chance=0.5,
    limits=Limits(max_turns=4, seconds=600.0),
)
