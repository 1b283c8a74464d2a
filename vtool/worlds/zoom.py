"""Zoom world: questions about pictures whose answer may be too small for a first look.

A picture shows discs of eight colours, each with a small digit. Shown at 64x64 pixels the discs
are visible; a digit is a smudge of two by three pixels, which a reader trained for that can tell
and the shipped policies were not taught to (`benchmarks/first_look.py`). Three kinds of question:

* ``none``  the first look is enough (where a disc is, which colour a place has);
* ``one``   one zoom on a disc shows its digit;
* ``two``   the discs stand inside coloured frames and are themselves too small for the first
  look: zoom on the frame, then, in that crop, on the disc.

Training and held-out pictures never share a layout, a background or a seed: the layout (cells and
colours) and the background colour are hashed, and one hash in ten belongs to the held-out split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from .drawing import (
    COLORS,
    PALETTE,
    Pixels,
    crop_background,
    draw_disc,
    draw_frame,
    light_color,
    plain_background,
)

PixelBox = tuple[int, int, int, int]
"""xyxy in whole pixels of the original picture."""

FIXED: Final = (384, 384)
"""Width and height of a picture; one whose question needs two zooms is twice as wide and high."""
SIZES: Final[tuple[tuple[int, int], ...]] = (
    (384, 384),
    (512, 512),
    (512, 384),
    (384, 512),
    (576, 384),
    (384, 576),
)
"""Width and height of the pictures when sizes vary."""

GRID: Final = 4
HELD_OUT_SHARE: Final = 10
_MARGIN: Final = 2


class Kind(StrEnum):
    """How many looks a question needs beyond the first."""

    NONE = "none"
    ONE = "one"
    TWO = "two"

    @property
    def zooms(self) -> int:
        """Crops that the question needs."""
        return list(Kind).index(self)


class Split(StrEnum):
    """Which of the two disjoint sets a picture belongs to."""

    TRAIN = "train"
    HELD_OUT = "held_out"

    @classmethod
    def _missing_(cls, value: object) -> Split:
        raise ValueError(f"expected the split {' or '.join(cls)}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Disc:
    """A coloured disc with a digit; positions in pixels of the original."""

    color: str
    digit: int
    x: float
    y: float
    radius: float
    cell: tuple[int, int]
    """Column and row in the grid of the picture, or of the frame that holds it."""

    @property
    def box(self) -> PixelBox:
        """Smallest whole-pixel box around the disc."""
        r = self.radius
        x1, y1 = int(np.floor(self.x - r)), int(np.floor(self.y - r))
        return x1, y1, int(np.ceil(self.x + r)), int(np.ceil(self.y + r))


@dataclass(frozen=True, slots=True)
class Frame:
    """A coloured square that holds small discs."""

    color: str
    box: PixelBox
    cell: tuple[int, int]
    discs: tuple[Disc, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One picture, its question and what an expert would look at."""

    pixels: Pixels
    kind: Kind
    question: str
    answer: str
    path: tuple[PixelBox, ...]
    """What to look at, outermost first; empty where the first look is enough."""
    discs: tuple[Disc, ...]
    frames: tuple[Frame, ...]
    target: Disc
    frame: Frame | None
    layout: str
    """Hash of cells and colours."""
    background: str
    """Hash of the background: its colour, or the photograph's pixels."""


def quadrant(x: float, y: float) -> str:
    """Name of the quarter of a picture; x and y from 0 to 1."""
    return f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"


def digest(value: object) -> str:
    """Short stable hash of anything with a stable ``repr``."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def split_of(key: str) -> Split:
    """The split that owns a hash."""
    return Split.HELD_OUT if int(key, 16) % HELD_OUT_SHARE == 0 else Split.TRAIN


def draw(
    seed: int,
    *,
    kind: Kind | str = Kind.ONE,
    split: Split | str = Split.TRAIN,
    objects: int = 4,
    frames: int = 3,
    size: tuple[int, int] = FIXED,
    photos: Sequence[Pixels] = (),
) -> Scene:
    """Draw one scene; the same arguments always give the same pixels.

    Args:
        seed: Picks everything that is random.
        kind: What the question needs.
        split: Which of the disjoint sets to draw from.
        objects: Discs in the picture, or in each frame.
        frames: Frames in a ``two`` picture, at most four.
        size: Width and height of the picture, doubled for ``two``.
        photos: RGB photographs to use as backgrounds; the caller keeps those of the two splits
            apart (see ``photos.divide``). Without them the background is one light colour.

    Raises:
        ValueError: ``objects`` or ``frames`` is outside what fits.
    """
    kind, split = Kind(kind), Split(split)
    if not 1 <= objects <= len(COLORS) or not 1 <= frames <= 4:
        raise ValueError(
            f"expected 1 to {len(COLORS)} objects and 1 to 4 frames, got {objects} and {frames}"
        )
    rng = np.random.default_rng([seed, list(Split).index(split), kind.zooms, objects, *size])
    if kind is Kind.TWO:
        size = (2 * size[0], 2 * size[1])
    pixels, background = _background(rng, split, size, photos)
    if kind is Kind.TWO:
        return _two(rng, split, pixels, background, objects, frames)
    return _flat(rng, split, kind, pixels, background, objects)


def _background(
    rng: np.random.Generator, split: Split, size: tuple[int, int], photos: Sequence[Pixels]
) -> tuple[Pixels, str]:
    if len(photos):
        photo = photos[int(rng.integers(len(photos)))]
        return crop_background(photo, size, rng), hashlib.sha256(photo.tobytes()).hexdigest()[:16]
    while True:
        color = light_color(rng)
        if split_of(digest(color)) is split:
            return plain_background(size, color), digest(color)


def _cells(rng: np.random.Generator, count: int, grid: int) -> list[tuple[int, int]]:
    picked = rng.permutation(grid * grid)[:count]
    return [(int(c) % grid, int(c) // grid) for c in picked]


def _colors(rng: np.random.Generator, count: int) -> list[str]:
    return [COLORS[i] for i in rng.permutation(len(COLORS))[:count]]


def _discs(
    rng: np.random.Generator,
    box: PixelBox,
    plan: Sequence[tuple[str, tuple[int, int]]],
    unit: float,
) -> tuple[Disc, ...]:
    """Jitter discs of about 21 units radius inside the cells of ``box``."""
    width, height = (box[2] - box[0]) / GRID, (box[3] - box[1]) / GRID
    discs = []
    for color, cell in plan:
        radius = float(rng.uniform(19, 23)) * unit
        jx = rng.uniform(-1, 1) * (width / 2 - radius - _MARGIN * unit)
        jy = rng.uniform(-1, 1) * (height / 2 - radius - _MARGIN * unit)
        x, y = box[0] + (cell[0] + 0.5) * width + jx, box[1] + (cell[1] + 0.5) * height + jy
        discs.append(Disc(color, int(rng.integers(10)), float(x), float(y), radius, cell))
    return tuple(discs)


def _paint(pixels: Pixels, discs: Sequence[Disc], scale: int) -> None:
    for disc in discs:
        draw_disc(pixels, (disc.x, disc.y), disc.radius, PALETTE[disc.color], disc.digit, scale)


def _flat(
    rng: np.random.Generator,
    split: Split,
    kind: Kind,
    pixels: Pixels,
    background: str,
    objects: int,
) -> Scene:
    height, width = pixels.shape[:2]
    unit = (width * height) ** 0.5 / FIXED[0]
    while True:
        plan = list(zip(_colors(rng, objects), _cells(rng, objects, GRID), strict=True))
        layout = digest((width, height, sorted(plan)))
        if split_of(layout) is split:
            break
    discs = _discs(rng, (0, 0, width, height), plan, unit)
    _paint(pixels, discs, max(1, round(2 * unit)))
    target = discs[int(rng.integers(objects))]
    if kind is Kind.NONE:
        question, answer, target = _overview_question(rng, discs, (width, height))
        path: tuple[PixelBox, ...] = ()
    else:
        question, answer = f"what digit is in the {target.color} circle?", str(target.digit)
        path = (target.box,)
    return Scene(pixels, kind, question, answer, path, discs, (), target, None, layout, background)


def _overview_question(
    rng: np.random.Generator, discs: Sequence[Disc], size: tuple[int, int]
) -> tuple[str, str, Disc]:
    """Ask where a disc is or, if a quarter holds exactly one, which colour it has there."""
    places = [quadrant(d.x / size[0], d.y / size[1]) for d in discs]
    alone = [i for i, place in enumerate(places) if places.count(place) == 1]
    if alone and rng.random() < 0.5:
        i = alone[int(rng.integers(len(alone)))]
        return f"what colour is the circle at the {places[i]}?", discs[i].color, discs[i]
    i = int(rng.integers(len(discs)))
    return f"where is the {discs[i].color} circle?", places[i], discs[i]


def _two(
    rng: np.random.Generator,
    split: Split,
    pixels: Pixels,
    background: str,
    objects: int,
    frames: int,
) -> Scene:
    height, width = pixels.shape[:2]
    while True:
        outer = list(zip(_colors(rng, frames), _cells(rng, frames, 2), strict=True))
        inner = [
            list(zip(_colors(rng, objects), _cells(rng, objects, GRID), strict=True)) for _ in outer
        ]
        layout = digest((width, height, sorted(zip(outer, map(sorted, inner), strict=True))))
        if split_of(layout) is split:
            break
    made = []
    for (color, cell), plan in zip(outer, inner, strict=True):
        box, border = _frame_box(rng, cell, width, height)
        fill = light_color(rng)
        draw_frame(pixels, box, PALETTE[color], border, fill)
        inside = (box[0] + border, box[1] + border, box[2] - border, box[3] - border)
        discs = _discs(rng, inside, plan, 1.08 * (inside[2] - inside[0]) / FIXED[0])
        _paint(pixels, discs, 1)
        made.append(Frame(color, box, cell, discs))
    frame = made[int(rng.integers(frames))]
    target = frame.discs[int(rng.integers(objects))]
    question = f"what digit is in the {target.color} circle in the {frame.color} frame?"
    path = (frame.box, target.box)
    everything = tuple(d for f in made for d in f.discs)
    return Scene(
        pixels,
        Kind.TWO,
        question,
        str(target.digit),
        path,
        everything,
        tuple(made),
        target,
        frame,
        layout,
        background,
    )


def _frame_box(
    rng: np.random.Generator, cell: tuple[int, int], width: int, height: int
) -> tuple[PixelBox, int]:
    side = int(rng.integers(176, 197) * min(width, height) / (2 * FIXED[0]))
    x = cell[0] * width / 2 + rng.uniform(4, width / 2 - side - 4)
    y = cell[1] * height / 2 + rng.uniform(4, height / 2 - side - 4)
    x1, y1 = int(x), int(y)
    return (x1, y1, x1 + side, y1 + side), side // 12
