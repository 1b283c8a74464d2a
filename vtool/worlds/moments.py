"""Moment world: videos in which something happens too briefly for a first glance.

A video of 20 to 120 seconds is glanced at in eight frames, evenly spaced. For a while its border
is dark, and two neighbouring frames of the glance show that; between these two, for less than
half of the time that lies between them, something flashes in one quarter of the frame. Where and
when it does, and in which colour, no frame of the glance tells: a closer look at the stretch
between the two does.

Four kinds of question: `what` (colour), `where` (quarter), `when` (span in seconds), and `both`
(colour and span in one answer). Videos have a constant rate of ten frames a second, or a variable
one whose frames lie on tenths of a second.

Training and held-out videos share no layout (gap, colour, quarter, sort of flash) and no
background: both are hashed, and one hash in ten belongs to the held-out split.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Box, Span
from vtool.video.budget import middles

from .drawing import COLORS, PALETTE, Color, Pixels, light_color, plain_background
from .zoom import Split, digest, quadrant, split_of

SIDE: Final = 64
"""Width and height of a frame in pixels."""
GLANCE: Final = 8
"""Frames of the first glance."""
TENTHS: Final = (200, 1200)
"""Shortest and longest video, in tenths of a second."""
BORDER: Final = 6
"""Width of the border in pixels."""
DARK: Final[Color] = (45, 45, 60)
GREY: Final[Color] = (150, 150, 150)
_SHARE: Final = (0.2, 0.4)
"""Length of the flash as a share of the time between two frames of the glance."""


class Ask(StrEnum):
    """What a question asks for."""

    WHAT = "what"
    WHERE = "where"
    WHEN = "when"
    BOTH = "both"

    @classmethod
    def _missing_(cls, value: object) -> Ask:
        raise ValueError(f"expected questions of {', '.join(cls)}, got {value!r}")

    @property
    def words(self) -> str:
        """The question."""
        return {
            Ask.WHAT: "what colour is the flash?",
            Ask.WHERE: "where is the flash?",
            Ask.WHEN: "when is the flash?",
            Ask.BOTH: "what colour is the flash and when?",
        }[self]

    @property
    def timed(self) -> bool:
        """Whether the answer holds a span."""
        return self in (Ask.WHEN, Ask.BOTH)


class Sort(StrEnum):
    """How a flash looks."""

    FLASH = "flash"
    """A disc appears and goes."""
    LAMP = "lamp"
    """Of four grey discs, one in each quarter, one lights up."""


@dataclass(frozen=True)
class Moment:
    """One video: when its frames appear, what they show."""

    ticks: NDArray[np.int64]
    """(N,) when each frame appears, in tenths of a second, from 0."""
    length: int
    """Tenths of a second from the first frame to the end of the last."""
    gap: int
    """The flash lies between this frame of the glance (0-based) and the next."""
    cue: tuple[int, int]
    """Frames with a dark border, the last one left out."""
    flash: tuple[int, int]
    """Frames that show the flash, the last one left out."""
    color: str
    quarter: tuple[int, int]
    """Column and row, 0 or 1."""
    sort: Sort
    discs: tuple[tuple[float, float, float], ...]
    """x, y, radius in pixels of the disc of each quarter, row by row."""
    backdrop: Color
    variable: bool

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.length / 10

    @property
    def span(self) -> Span:
        """When the flash can be seen, to the end of its last frame."""
        start, end = self.flash
        return Span(int(self.ticks[start]) / 10, int(self.ticks[end]) / 10)

    @property
    def place(self) -> str:
        """Name of the quarter."""
        return quadrant(self.quarter[0] / 2 + 0.25, self.quarter[1] / 2 + 0.25)

    @property
    def box(self) -> Box:
        """The disc that flashes, in the frame."""
        x, y, r = self.discs[self.quarter[1] * 2 + self.quarter[0]]
        return Box((x - r) / SIDE, (y - r) / SIDE, (x + r) / SIDE, (y + r) / SIDE)

    @property
    def layout(self) -> str:
        """Hash of what a policy could learn by heart."""
        return layout_of(self.gap, self.color, self.quarter, self.sort)

    @property
    def background(self) -> str:
        """Hash of the background's colour."""
        return digest(self.backdrop)

    def answer(self, ask: Ask) -> str | None:
        """The words wanted; None where only a span is."""
        return {Ask.WHERE: self.place, Ask.WHEN: None}.get(ask, self.color)

    def row_at(self, time_s: float) -> int:
        """The frame that is on the screen at a time."""
        row = int(np.searchsorted(self.ticks, time_s * 10 + 1e-6, side="right")) - 1
        return min(max(row, 0), len(self.ticks) - 1)

    def frame(self, row: int) -> Pixels:
        """Pixels of a frame, (64, 64, 3); not to be written to."""
        dark = self.cue[0] <= row < self.cue[1]
        lit = self.flash[0] <= row < self.flash[1]
        return self._looks[2 if lit else int(dark)]

    @cached_property
    def _looks(self) -> tuple[Pixels, Pixels, Pixels]:
        """Without the cue, with it, and with the flash."""
        plain = plain_background((SIDE, SIDE), self.backdrop)
        if self.sort is Sort.LAMP:
            for disc in self.discs:
                _disc(plain, disc, GREY)
        cued = plain.copy()
        edge = np.ones((SIDE, SIDE), bool)
        edge[BORDER:-BORDER, BORDER:-BORDER] = False
        cued[edge] = DARK
        lit = cued.copy()
        _disc(lit, self.discs[self.quarter[1] * 2 + self.quarter[0]], PALETTE[self.color])
        return plain, cued, lit


def layout_of(gap: int, color: str, quarter: tuple[int, int], sort: Sort) -> str:
    """Hash of one combination."""
    return digest(("moment", gap, color, quarter, sort.value))


def draw(
    seed: int,
    *,
    split: Split | str = Split.TRAIN,
    variable: float = 0.25,
    tenths: tuple[int, int] = TENTHS,
) -> Moment:
    """Draw one video; the same arguments always give the same one.

    Args:
        seed: Picks everything that is random.
        split: Which of the disjoint sets to draw from.
        variable: Share of videos with a variable frame rate.
        tenths: Shortest and longest, in tenths of a second; at least 200.

    Raises:
        ValueError: Lengths out of order or too short for eight frames and a flash between them.
    """
    if not 200 <= tenths[0] <= tenths[1]:
        raise ValueError(f"expected lengths of at least 200 tenths of a second, got {tenths}")
    split = Split(split)
    rng = np.random.default_rng([seed, 1 + list(Split).index(split)])
    gap, color, quarter, sort = _layout(rng, split)
    backdrop = _backdrop(rng, split)
    varies = bool(rng.random() < variable)
    length = int(rng.integers(tenths[0], tenths[1] + 1))
    ticks, length = _ticks(rng, length, varies)
    discs = tuple(_place(rng, (i % 2, i // 2)) for i in range(4))
    cue, flash = _rows(rng, ticks, length, gap)
    return Moment(ticks, length, gap, cue, flash, color, quarter, sort, discs, backdrop, varies)


def _layout(rng: np.random.Generator, split: Split) -> tuple[int, str, tuple[int, int], Sort]:
    while True:
        gap, color = int(rng.integers(GLANCE - 1)), COLORS[int(rng.integers(len(COLORS)))]
        quarter = (int(rng.integers(2)), int(rng.integers(2)))
        sort = list(Sort)[int(rng.integers(2))]
        if split_of(layout_of(gap, color, quarter, sort)) is split:
            return gap, color, quarter, sort


def _backdrop(rng: np.random.Generator, split: Split) -> Color:
    while True:
        color = light_color(rng)
        if split_of(digest(color)) is split:
            return color


def _ticks(rng: np.random.Generator, length: int, varies: bool) -> tuple[NDArray[np.int64], int]:
    """Times of the frames and the end of the last, which is shown for a tenth."""
    if not varies:
        return np.arange(length, dtype=np.int64), length
    steps = rng.choice([1, 1, 1, 2, 3], length)
    times = np.concatenate([[0], np.cumsum(steps)])
    ticks = times[times < length].astype(np.int64)
    return ticks, int(ticks[-1]) + 1


def _place(rng: np.random.Generator, quarter: tuple[int, int]) -> tuple[float, float, float]:
    """A disc well inside a quarter and clear of the border."""
    middle = [BORDER + 13.5 + c * (SIDE - 2 * BORDER - 27) for c in quarter]
    x, y = (float(m + rng.uniform(-2, 2)) for m in middle)
    return x, y, float(rng.uniform(9, 11))


def _rows(
    rng: np.random.Generator, ticks: NDArray[np.int64], length: int, gap: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Frames with the cue and frames with the flash."""
    part = length / GLANCE
    seen = [int(np.searchsorted(ticks, t * 10 + 1e-6, side="right")) - 1 for t in _glances(length)]
    before = seen[gap - 1] if gap else -1
    after = seen[gap + 2] if gap + 2 < GLANCE else len(ticks)
    first = int(rng.integers(before + 1, seen[gap] + 1))
    last = int(rng.integers(seen[gap + 1] + 1, after + 1))
    want = int(rng.integers(round(_SHARE[0] * part), round(_SHARE[1] * part) + 1))
    # Not the frame right after the first nor the one right before the second: those are seen.
    low, high = seen[gap] + 1, seen[gap + 1]
    latest = int(np.searchsorted(ticks, ticks[high] - want, side="right")) - 1
    start = int(rng.integers(low, max(low, min(latest, high - 1)) + 1))
    end = int(np.searchsorted(ticks, ticks[start] + want, side="left"))
    return (first, last), (start, min(max(end, start + 1), high))


def _glances(length: int) -> list[float]:
    return middles(Span(0.0, length / 10), GLANCE)


def _disc(pixels: Pixels, disc: tuple[float, float, float], color: Color) -> None:
    """An anti-aliased disc, in place."""
    x, y, radius = disc
    ys, xs = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    cover = np.clip(radius - np.hypot(xs - x, ys - y) + 0.5, 0.0, 1.0)[..., None]
    pixels[:] = np.rint(pixels * (1 - cover) + np.array(color) * cover).astype(np.uint8)
