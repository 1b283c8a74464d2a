"""Worlds about when to use a tool at all: one helps of several, useless, costly, flaky, misleading.

All show discs with digits, as the zoom world does; what differs is what the tool is worth.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import numpy as np

from vtool.environment import Limits

from .eyes import disc, grown, read_digit, thousandths
from .files import Drawer, Sample, maker
from .looking import PLAIN, best, guess
from .program import Look, Seen, Use
from .props import empty_zoom, flaky_zoom, misleading_zoom
from .world import World
from .zoom import Kind, Scene, Split
from .zoom import draw as draw_scene

TRIES: Final = 3
"""Calls that fit into an episode of the flaky world."""
_FIRST_LOOK: Final = 0.19
"""Half of the questions that the first look answers have four answers, half have eight."""


def from_scene(scene: Scene) -> Sample:
    """A question of the zoom world."""
    return Sample(
        (scene.pixels,),
        scene.question,
        {"answer": scene.answer},
        scene.layout,
        scene.path,
        scene.kind.value,
        {"background": scene.background, "zooms": scene.kind.zooms},
    )


def drawer(*kinds: Kind) -> Drawer:
    """Draws questions of some kinds, equally often."""

    def draw(rng: np.random.Generator, split: Split) -> Sample:
        kind = kinds[int(rng.integers(len(kinds)))]
        return from_scene(draw_scene(int(rng.integers(1 << 50)), kind=kind, split=split))

    return draw


def patient(look: Look) -> Generator[Use, Seen, str]:
    """Zoom, and ask again where the tool failed, as long as there is time."""
    at = disc(look.pictures[0], PLAIN.findall(look.words)[0], 0.4)
    for _ in range(TRIES if at is not None else 0):
        assert at is not None
        seen = yield Use("zoom", image=1, box=thousandths(grown(at, 1.25)))
        if seen.pictures:
            return read_digit(seen.pictures[0]) or guess(look.words, look.rng)
    return guess(look.words, look.rng)


TOOLS = World(
    name="tools",
    about="Read a small digit with five tools on offer, of which only one helps.",
    make=maker("tools", drawer(Kind.ONE)),
    tools=("zoom", "edges", "flip", "grid", "rotate"),
    best=best,
    guess=guess,
    chance=0.1,
    page=(
        "The picture and the questions are those of the zoom world with one zoom. As edges, "
        "mirrored, turned or behind a grid, the digit is as small as before: a policy must pick "
        "the tool that makes it larger, not merely call one."
    ),
)

USELESS = World(
    name="useless",
    about="Answer what the first look tells; the tool gives a grey picture.",
    make=maker("useless", drawer(Kind.NONE)),
    tools=(empty_zoom(),),
    best=best,
    guess=guess,
    chance=_FIRST_LOOK,
    needs_tool=False,
    page=(
        "Where a disc is, or which colour a place has, is seen at first sight. Whatever box is "
        "asked for, the tool's picture is plain grey: a look gains nothing and costs no answer, so "
        "that `calls` tells what a method pays for looking as such."
    ),
)

COSTLY = World(
    name="costly",
    about="Half of the questions need a zoom; each call costs a fifth of a right answer.",
    make=maker("costly", drawer(Kind.NONE, Kind.ONE)),
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=0.55,
    price=0.2,
    note="chance is that of a policy that never calls: half are answered by the first look",
    page=(
        "One kind of question is about the place or the colour of a disc, which the first look "
        "shows; the other about its digit, which only a zoom does. The price is taken off after "
        "the play: a policy gains by telling the two kinds apart, not by looking always or never."
    ),
)

FLAKY = World(
    name="flaky",
    about="Read a small digit with a zoom that fails half of the time.",
    make=maker("flaky", drawer(Kind.ONE)),
    tools=(flaky_zoom(),),
    best=patient,
    guess=guess,
    chance=0.1,
    bound=1 - 0.5**TRIES + 0.5**TRIES * 0.1,
    limits=Limits(max_turns=TRIES + 1, seconds=600.0),
    note="three calls fit: one question in eight is never seen, and a tenth of these guessed",
    page=(
        "The questions are those of the zoom world with one zoom. A call fails by a toss of its "
        "own, and a fault is told in words instead of a picture: the same call, asked again, may "
        "work, so that giving up early is what a policy must unlearn."
    ),
)

MISLEADING = World(
    name="misleading",
    about="Answer what the first look tells; the tool shows it mirrored and in other colours.",
    make=maker("misleading", drawer(Kind.NONE)),
    tools=(misleading_zoom(),),
    best=best,
    guess=guess,
    chance=_FIRST_LOOK,
    needs_tool=False,
    page=(
        "Where a disc is, or which colour a place has, is seen at first sight. The tool's picture "
        "is turned by half a circle, and every colour is exchanged for the next: a policy that "
        "believes it is wrong, one that keeps to the first look is right."
    ),
)
