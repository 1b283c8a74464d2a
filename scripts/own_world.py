"""A world of one's own: the example of docs/worlds/index.md."""

from vtool.worlds.drawing import PALETTE, draw_disc, plain_background
from vtool.worlds.eyes import disc, grown, read_digit, thousandths
from vtool.worlds.files import Sample, maker
from vtool.worlds.program import Use
from vtool.worlds.world import World
from vtool.worlds.zoom import digest, split_of


def draw(rng, split):
    """One red disc; its place is the layout that a split owns."""
    x, y = (int(v) for v in rng.integers(40, 344, 2))
    while split_of(digest((x, y))) is not split:
        x, y = (int(v) for v in rng.integers(40, 344, 2))
    digit, pixels = int(rng.integers(10)), plain_background((384, 384), (230, 230, 230))
    draw_disc(pixels, (x, y), 21, PALETTE["red"], digit, 2)
    return Sample(
        (pixels,), "what digit is in the red circle?", {"answer": str(digit)}, digest((x, y))
    )


def best(look):
    """Find it, zoom, read; guess where nothing is shown."""
    place = grown(disc(look.pictures[0], "red"), 1.25)
    seen = yield Use("zoom", image=1, box=thousandths(place))
    return (seen.pictures and read_digit(seen.pictures[0])) or guess(look.words, look.rng)


def guess(words, rng):
    """Any digit."""
    return str(rng.integers(10))


MINE = World(
    name="mine",
    about="Read the digit on the only disc.",
    make=maker("mine", draw),
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=0.1,
)
