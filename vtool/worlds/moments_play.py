"""Three ways to play the moment world without learning: what is possible, and what is chance.

`best` looks at pixels only, coarse to fine, and is right by construction; `blind` does as well as
one can from the first glance; `at_random` knows nothing. Their scores bound what a policy may
reach and what it must beat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from vtool.answer_spans import write_span
from vtool.geometry import Span
from vtool.media import Clip
from vtool.video.budget import middles, read_clip
from vtool.video.source import Video

from .drawing import COLORS, PALETTE, Pixels
from .moments import BORDER, GLANCE, Ask
from .zoom import quadrant

Look: TypeAlias = Callable[[Span], Clip]
"""Shows some frames of a stretch: what the `resample` tool does."""

_DARK: Final = 110
_VIVID: Final = 60
_LEAST: Final = 20
"""Pixels of a disc that must be vivid: a flash has some two hundred."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a video."""

    color: str
    place: str
    span: Span
    looks: int

    def answer(self, ask: Ask) -> str:
        """What to say."""
        return write_answer(ask, self.color, self.place, self.span)


def write_answer(ask: Ask, color: str, place: str, span: Span) -> str:
    """An answer as the tiny policies write it."""
    return {
        Ask.WHAT: color,
        Ask.WHERE: place,
        Ask.WHEN: write_span(span),
        Ask.BOTH: f"{color}, {write_span(span)}",
    }[ask]


def shows_cue(pixels: Pixels) -> bool:
    """Whether the border of a frame is dark."""
    edge = np.concatenate(
        [pixels[: BORDER - 2].reshape(-1, 3), pixels[2 - BORDER :].reshape(-1, 3)]
    )
    return bool(edge.mean() < _DARK)


def flash_in(pixels: Pixels) -> tuple[str, str] | None:
    """Colour and quarter of the flash in a frame, or None."""
    inside = pixels[BORDER:-BORDER, BORDER:-BORDER].astype(np.int64)
    vivid = inside.max(2) - inside.min(2) > _VIVID
    if vivid.sum() < _LEAST:
        return None
    ys, xs = np.nonzero(vivid)
    side = inside.shape[0]
    found = np.median(inside[vivid], axis=0)
    color = min(COLORS, key=lambda c: float(np.abs(found - np.array(PALETTE[c])).sum()))
    return color, quadrant(float(xs.mean()) / side, float(ys.mean()) / side)


def best(glance: Clip, look: Look) -> Seen | None:
    """Find the flash coarse to fine: the stretch between the two cued frames, then its two edges.

    Args:
        glance: The first glance.
        look: Shows a stretch, more densely.
    """
    window = cued(glance)
    if window is None:
        return None
    clip, looks = look(window), 1
    rows = lit_rows(clip)
    if not rows:
        return None
    color, place = flash_in(clip.frames[rows[0]].pixels) or ("", "")
    times = (window.start_s, *clip.times_s, window.end_s)
    first, some = _edge(times[rows[0]], times[rows[0] + 1], look, lit=True)
    last, more = _edge(times[rows[-1] + 1], times[rows[-1] + 2], look, lit=False)
    return Seen(color, place, Span(first, last), looks + some + more)


def blind(glance: Clip, rng: np.random.Generator, ask: Ask) -> str:
    """Guess from the glance: the span is the middle of the stretch between the cued frames."""
    window = cued(glance) or Span(glance.times_s[0], glance.times_s[-1])
    half = (window.end_s - window.start_s) * 0.15
    middle = (window.start_s + window.end_s) / 2
    return _guess(rng, ask, Span(middle - half, middle + half))


def at_random(duration_s: float, rng: np.random.Generator, ask: Ask) -> str:
    """Guess with closed eyes: a stretch of the usual length anywhere."""
    length = duration_s / GLANCE * 0.3
    start = float(rng.uniform(0, duration_s - length))
    return _guess(rng, ask, Span(start, start + length))


def cued(glance: Clip) -> Span | None:
    """From the first frame with a dark border to the last."""
    times = [t for f, t in zip(glance.frames, glance.times_s, strict=True) if shows_cue(f.pixels)]
    return Span(times[0], times[-1]) if len(times) > 1 else None


def lit_rows(clip: Clip) -> list[int]:
    """Frames of a clip that show the flash."""
    return [i for i, f in enumerate(clip.frames) if flash_in(f.pixels) is not None]


def resampler(video: Video, count: int = 8) -> Look:
    """Looks at a stretch of a file as the `resample` tool does."""
    return lambda span: read_clip(video, middles(span, count), video.size)


def _edge(before: float, after: float, look: Look, *, lit: bool) -> tuple[float, int]:
    """Time of the first frame after `before` that shows the flash (or no longer does)."""
    looks = 0
    while after - before > 1e-6:
        clip = look(Span(before, after))
        looks += 1
        pairs = zip(clip.times_s, clip.frames, strict=True)
        inside = [(t, f) for t, f in pairs if before + 1e-6 < t < after - 1e-6]
        if not inside:
            break
        for time, frame in inside:
            if (flash_in(frame.pixels) is not None) == lit:
                after = time
                break
            before = time
    return after, looks


def _guess(rng: np.random.Generator, ask: Ask, span: Span) -> str:
    color = COLORS[int(rng.integers(len(COLORS)))]
    place = quadrant(*(float(v) for v in rng.choice([0.25, 0.75], 2)))
    rounded = Span(round(span.start_s, 1), round(max(span.end_s, span.start_s + 0.1), 1))
    return write_answer(ask, color, place, rounded)
