"""Detection world: how many things of a kind there are, where all kinds look alike at first.

Five small icons lie on a page; the question asks how many of them are of one kind. In the first
look all icons are the same spot. The detector is a stand-in, see `icons`: no published weights
know these icons, so rendered truth takes their place, found in the pixels.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final

import numpy as np

from vtool.environment import Limits

from .drawing import Pixels, light_color, plain_background
from .files import Sample, maker, redraw
from .hidden import BLOCK, BLOCKS, SIDE
from .icons import KINDS, icon_detector, stamp
from .icons import SIDE as ICON
from .program import Look, Seen, Use
from .world import World
from .zoom import Split, digest

ICONS: Final = 5
MOST: Final = 4
GRAIN: Final = 4
_CELL: Final = 48
"""Icons lie in cells of this many pixels, apart from each other."""


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """A page with five icons, one to four of them of the kind that is asked about."""

    def plan() -> tuple[str, Any]:
        kind = KINDS[int(rng.integers(len(KINDS)))]
        count = int(rng.integers(1, MOST + 1))
        cells = [int(c) for c in rng.permutation((SIDE // _CELL) ** 2)[:ICONS]]
        return digest(("detect", kind, count, sorted(cells))), (kind, count, cells)

    layout, (kind, count, cells) = redraw(plan, split)
    background, paper = redraw(lambda: _paper(rng), split)
    pixels = _grained(rng, plain_background((SIDE, SIDE), paper))
    others = [k for k in KINDS if k != kind]
    boxes = []
    for number, cell in enumerate(cells):
        x, y = (_corner(rng, v) for v in (cell % (SIDE // _CELL), cell // (SIDE // _CELL)))
        mine = number < count
        stamp(pixels, kind if mine else str(rng.choice(others)), (x, y))
        if mine:
            boxes.append((x, y, x + ICON, y + ICON))
    return Sample(
        (pixels,),
        f"how many {kind} are there?",
        {"answer": str(count)},
        layout,
        tuple(boxes),
        "count",
        {"background": background},
    )


def _paper(rng: np.random.Generator) -> tuple[str, tuple[int, int, int]]:
    color = light_color(rng)
    return digest(color), color


def _grained(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """The page with a grain of a few grey levels, more than icons differ by in the first look."""
    grain = rng.integers(-GRAIN, GRAIN + 1, (BLOCKS, BLOCKS))
    coarse = np.kron(grain, np.ones((BLOCK, BLOCK), np.int64))
    return np.clip(pixels + coarse[:, :, None], 0, 255).astype(np.uint8)


def _corner(rng: np.random.Generator, cell: int) -> int:
    """Along one side, on the grid of blocks."""
    slack = (_CELL - ICON) // BLOCK
    return cell * _CELL + int(rng.integers(1, slack)) * BLOCK


def best(look: Look) -> Generator[Use, Seen, str]:
    """Ask the detector for that kind and count."""
    seen = yield Use("detect", image=1, labels=[_kind(look.words)])
    return str(len(seen.found)) if seen.found else guess(look.words, look.rng)


def guess(words: str, rng: np.random.Generator) -> str:
    """Any number that may be."""
    return str(rng.integers(1, MOST + 1))


def _kind(words: str) -> str:
    found = re.search(r"how many (\w+)", words)
    return found[1] if found else KINDS[0]


DETECT = World(
    name="detect",
    about="Count the icons of one kind: in the first look all kinds are the same spot.",
    make=maker("detect", draw),
    tools=(icon_detector(),),
    best=best,
    guess=guess,
    chance=0.25,
    limits=Limits(max_turns=4, seconds=600.0),
    note="the detector is rendered truth: an exact search for the icons' bitmaps",
)
