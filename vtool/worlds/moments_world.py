"""Moment world as a proving ground: the answer needs frames that the first glance does not show."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

import numpy as np

from vtool.geometry import Span
from vtool.media import Clip

from .drawing import COLORS
from .moments import Ask
from .moments_files import make
from .moments_play import at_random, blind, cued, flash_in, lit_rows, write_answer
from .program import Look, Seen, Use
from .world import World

_VIDEO: Final = "$video_1"
_FINE: Final = 0.25
"""Seconds below which an edge is known well enough."""
_COLOR, _PLACE = 1 / len(COLORS), 1 / 4
FOUND: Final = 0.295
"""How often the middle of the dark stretch overlaps the flash by half (the span of `blind`).

Of a stretch of length 1 the flash takes L, from .2 to .4, anywhere; the guess takes the middle .3.
They overlap by half where their middles are at most (L + .3) / 6 apart, which has the probability
(L + .3) / 3(1 - L): .290 on average. Frames on tenths of a second make it .295 (120 000 draws).
"""
WORDS_CHANCE: Final = (_COLOR + _PLACE + _COLOR) / 3
"""How often the words of a guess are right, over the questions that want words: what a QA accuracy
of this world must beat. It is no chance of the world's own rule, which wants the span as well."""


def best(look: Look) -> Generator[Use, Seen, str]:
    """Coarse to fine: the stretch between the dark frames, then, for spans, both edges."""
    ask, glance = _ask(look.words), look.clips[0]
    window = cued(glance)
    clip = (yield from _resample(window)) if window else None
    rows = lit_rows(clip) if clip is not None else []
    if window is None or clip is None or not rows:
        return blind(glance, look.rng, ask)
    color, place = flash_in(clip.frames[rows[0]].pixels) or ("", "")
    times = (window.start_s, *clip.times_s, window.end_s)
    start, end = times[rows[0] + 1], times[rows[-1] + 2]
    if ask.timed:
        start = yield from _edge(times[rows[0]], start, lit=True)
        end = yield from _edge(times[rows[-1] + 1], end, lit=False)
    return write_answer(ask, color, place, Span(start, end))


def guess(words: str, rng: np.random.Generator) -> str:
    """A word and a stretch of the usual length, with closed eyes."""
    length = re.search(r"\((\d+\.\d+) s", words)
    return at_random(float(length[1]) if length else 60.0, rng, _ask(words))


def _edge(before: float, after: float, *, lit: bool) -> Generator[Use, Seen, float]:
    """About when the flash begins (or ends), from one closer look."""
    if after - before <= _FINE:
        return after
    clip = yield from _resample(Span(before, after))
    pairs = zip(clip.times_s, clip.frames, strict=True) if clip is not None else ()
    return next((t for t, f in pairs if (flash_in(f.pixels) is not None) == lit), after)


def _resample(span: Span) -> Generator[Use, Seen, Clip | None]:
    seen = yield Use("resample", video=_VIDEO, span=[span.start_s, span.end_s])
    return seen.clips[0] if seen.clips else None


def _ask(words: str) -> Ask:
    return next(a for a in (Ask.BOTH, Ask.WHEN, Ask.WHERE, Ask.WHAT) if a.words in words)


MOMENTS = World(
    name="moments",
    about="Say what happens, where and when in a video whose first glance misses it.",
    make=make,
    sized=lambda count: {"videos": -(-count // len(Ask))},
    tools=("resample",),
    best=best,
    guess=guess,
    chance=(_COLOR + _PLACE + FOUND + _COLOR * FOUND) / len(Ask),
    note=(
        "chance is that of guessing the word and the middle of the dark stretch, which overlaps by "
        f"half in {FOUND:g} of the videos; of words alone (QA accuracy) it is {WORDS_CHANCE:.2f}"
    ),
)
