"""Sparse world: one word of praise for several steps, all of which must be right.

Three discs are named; the answer is their digits in that order. Nothing tells which of the three
was wrong.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

import numpy as np

from .eyes import disc
from .files import Sample, maker
from .looking import read_at
from .program import Look, Seen, Use
from .world import World
from .zoom import Kind, Split
from .zoom import draw as draw_scene

STEPS: Final = 3


def draw(rng: np.random.Generator, split: Split) -> Sample:
    """A picture of the zoom world, asked about three discs at once."""
    scene = draw_scene(int(rng.integers(1 << 50)), kind=Kind.ONE, split=split)
    asked = [scene.discs[i] for i in rng.permutation(len(scene.discs))[:STEPS]]
    colors = ", ".join(d.color for d in asked)
    return Sample(
        (scene.pixels,),
        f"what digits are in the circles {colors}?",
        {"answer": "".join(str(d.digit) for d in asked)},
        scene.layout,
        tuple(d.box for d in asked),
        "digits",
        {"background": scene.background, "zooms": STEPS},
    )


def best(look: Look) -> Generator[Use, Seen, str]:
    """One zoom a digit."""
    digits = ""
    for color in _colors(look.words):
        digit = yield from read_at(1, disc(look.pictures[0], color, 0.4))
        digits += digit or str(look.rng.integers(10))
    return digits


def guess(words: str, rng: np.random.Generator) -> str:
    """Any three digits."""
    return "".join(str(d) for d in rng.integers(0, 10, STEPS))


def _colors(words: str) -> list[str]:
    found = re.search(r"circles ([a-z, ]+)\?", words)
    return found[1].split(", ") if found else []


SPARSE = World(
    name="sparse",
    about="Read three small digits; the answer counts only where all three are right.",
    make=maker("sparse", draw),
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=0.001,
)
