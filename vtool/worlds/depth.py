"""Depth world: which of two things is nearer, where only their stereo geometry tells.

A stereo pair shows a wall of grey noise; two square plates of the same size and the same noise
stand before it. Rings on the left picture say which two plates are meant. Size, shading and noise
of the plates are alike, every pixel of the first look is the same grey, and what differs is by how
many pixels each has moved between the pictures. The geometry is true and the tool is real:
`stereo_depth` matches the pair, `depth_at` reads the map.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final

import numpy as np

from vtool.environment import Limits
from vtool.geometry import Point
from vtool.message import Json

from .drawing import COLORS, PALETTE
from .eyes import UnitBox, spots
from .files import Sample, maker, redraw
from .hidden import BLOCK, BLOCKS, noise, ring
from .program import Look, Seen, Use
from .world import World
from .zoom import Split, digest

PLATE: Final = 14
"""Side of a plate in blocks."""
WALL: Final = 1
"""Blocks by which the wall moves."""
NEAR: Final = (2, 3, 4, 5)
"""Blocks by which plates move."""
RADII: Final = (22.0, 31.0)
_HALF: Final = BLOCKS // 2


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """A pair with two plates in two quarters."""

    def plan() -> tuple[str, Any]:
        colors = [COLORS[i] for i in rng.permutation(len(COLORS))[:2]]
        quarters = [int(q) for q in rng.permutation(4)[:2]]
        steps = [NEAR[i] for i in rng.permutation(len(NEAR))[:2]]
        made = list(zip(colors, quarters, steps, strict=True))
        return digest(("depth", sorted(made))), made

    layout, plates = redraw(plan, split)
    left = noise(rng)
    right = _moved(noise(rng), left, (0, 0, BLOCKS, BLOCKS), WALL)
    places = [_place(rng, quarter) for _, quarter, _ in plates]
    # The nearest last: it hides what lies behind it.
    for (x, y), (_, _, step) in sorted(zip(places, plates, strict=True), key=lambda p: p[1][2]):
        right = _moved(right, left, (x, y, PLATE, PLATE), step)
    for (x, y), (color, _, _) in zip(places, plates, strict=True):
        middle = ((x + PLATE // 2) * BLOCK, (y + PLATE // 2) * BLOCK)
        ring(left, middle, RADII, PALETTE[color])
    first, second = (plates[i][0] for i in rng.permutation(2))
    nearer = max(plates, key=lambda p: p[2])[0]
    return Sample(
        (left, right),
        f"which is nearer, the {first} or the {second} ring?",
        {"answer": nearer},
        layout,
        tuple(_pixels(x, y) for x, y in places),
        "nearer",
        {"disparities": [step * BLOCK for _, _, step in plates]},
    )


def _place(rng: np.random.Generator, quarter: int) -> tuple[int, int]:
    """A plate inside its quarter, in sight in both pictures however near it is."""
    x = int(rng.integers(max(NEAR) + 1, _HALF - PLATE))
    y = int(rng.integers(1, _HALF - PLATE - 1))
    return x + _HALF * (quarter % 2), y + _HALF * (quarter // 2)


def _moved(right: Any, left: Any, box: tuple[int, int, int, int], step: int) -> Any:
    """The right picture with a part of the left one, moved left by whole blocks."""
    x, y, width, height = (v * BLOCK for v in box)
    shift = step * BLOCK
    out = right.copy()
    start = max(x, shift)
    out[y : y + height, start - shift : x + width - shift] = left[y : y + height, start : x + width]
    return out


def _pixels(x: int, y: int) -> tuple[int, int, int, int]:
    return x * BLOCK, y * BLOCK, (x + PLATE) * BLOCK, (y + PLATE) * BLOCK


def best(look: Look) -> Generator[Use, Seen, str]:
    """Match the pair, then read the map in the middle of both rings: the first told is nearer."""
    names = _names(look.words)
    places = [spots(look.pictures[0], c)[:1] for c in names]
    seen = yield Use("stereo_depth", left=1, right=2)
    if not seen.handles or not all(places):
        return guess(look.words, look.rng)
    points: list[Json] = [_middle(p[0]) for p in places]
    seen = yield Use("depth_at", depth=f"${seen.handles[0]}", points=points)
    if not seen.found or not isinstance(seen.found[0].region.shape, Point):
        return guess(look.words, look.rng)
    return names[int(seen.found[0].label.split()[-1]) - 1]


def _middle(box: UnitBox) -> list[Json]:
    return [round((box[0] + box[2]) * 500), round((box[1] + box[3]) * 500)]


def guess(words: str, rng: np.random.Generator) -> str:
    """One of the two."""
    return str(rng.choice(_names(words)))


def _names(words: str) -> list[str]:
    found = re.search(r"the (\w+) or the (\w+) ring", words)
    return [found[1], found[2]] if found else ["red", "blue"]


DEPTH = World(
    name="depth",
    about="Which of two camouflaged plates is nearer: only matching the stereo pair tells.",
    make=maker("depth", draw),
    tools=("stereo_depth", "depth_at"),
    best=best,
    guess=guess,
    chance=0.5,
    limits=Limits(max_turns=4, seconds=600.0),
)
