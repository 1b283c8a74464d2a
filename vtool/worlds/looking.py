"""The scripted policy of every world that is made of discs with digits: find, zoom, read."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

import numpy as np

from .drawing import COLORS
from .eyes import UnitBox, colors_in, disc, grown, read_digit, spots, thousandths
from .program import Look, Seen, Use
from .zoom import quadrant

PLACES: Final = ("upper left", "upper right", "lower left", "lower right")
FRAMED: Final = re.compile(r"in the (\w+) circle in the (\w+) frame\?")
PLAIN: Final = re.compile(r"in the (\w+) circle\?")


def best(look: Look) -> Generator[Use, Seen, str]:
    """Answer from the first look where it tells; else zoom, through a frame where there is one."""
    known = first_look(look)
    if known is not None:
        return known
    view, image = look.pictures[0], 1
    if framed := FRAMED.search(look.words):
        color = framed[1]
        outer = max(spots(view, framed[2]), key=_extent, default=None)
        if outer is None:
            return guess(look.words, look.rng)
        seen = yield Use("zoom", image=1, box=thousandths(grown(outer, 0.86)))
        if not seen.pictures:
            return guess(look.words, look.rng)
        view, image = seen.pictures[0], 2
    elif plain := PLAIN.search(look.words):
        color = plain[1]
    else:  # a disc that the first look does not show
        return guess(look.words, look.rng)
    digit = yield from read_at(image, disc(view, color, 0.4))
    return digit or guess(look.words, look.rng)


def read_at(image: int, at: UnitBox | None) -> Generator[Use, Seen, str | None]:
    """Zoom to a disc and read its digit; None where nothing is read."""
    if at is None:
        return None
    seen = yield Use("zoom", image=image, box=thousandths(grown(at, 1.25)))
    return read_digit(seen.pictures[0]) if seen.pictures else None


def first_look(look: Look) -> str | None:
    """The answer where no closer look is needed: a place, or the colour at a place."""
    asked = re.search(r"where is the (\w+) circle\?", look.words)
    found = colors_in(look.pictures[0])
    if asked:
        at = found.get(asked[1])
        return _place(at) if at is not None else None
    asked = re.search(r"what colour is the circle at the ([a-z ]+)\?", look.words)
    if asked:
        return next((c for c, at in found.items() if _place(at) == asked[1]), COLORS[0])
    return None


def guess(words: str, rng: np.random.Generator) -> str:
    """Any answer of the kind that is asked for."""
    if "what colour" in words:
        return str(rng.choice(COLORS))
    if "where is" in words:
        return str(rng.choice(PLACES))
    return str(rng.integers(10))


def _place(at: UnitBox) -> str:
    return quadrant((at[0] + at[2]) / 2, (at[1] + at[3]) / 2)


def _extent(at: UnitBox) -> float:
    return max(at[2] - at[0], at[3] - at[1])
