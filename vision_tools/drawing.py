"""A copy of a picture to draw on: boxes, dots, lines and labels, placed in unit coordinates.

Everything has a thin rim of the opposite brightness, so that it is seen on any ground. Sizes
that are not given follow the picture: what is drawn on a large photograph is still seen when the
photograph is shown small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Point, Size
from vtool.media import Image
from vtool.tool import Observation, Way

from .limits import check_count
from .selection import Rect, whole_pixels

Rgb: TypeAlias = tuple[int, int, int]
Fit: TypeAlias = Callable[[Sequence[float]], list[float]]
"""From pixels of the picture to the finer ones on which a shape is drawn."""
Color = Literal[
    "red", "green", "blue", "yellow", "cyan", "magenta", "orange", "purple", "white", "black"
]
COLORS: Mapping[str, Rgb] = {
    "red": (230, 25, 40),
    "green": (30, 170, 70),
    "blue": (35, 95, 235),
    "yellow": (255, 220, 25),
    "cyan": (40, 205, 230),
    "magenta": (225, 45, 200),
    "orange": (250, 130, 20),
    "purple": (130, 60, 190),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
LONGEST_LABEL = 40
"""Characters of one label."""
WIDEST = 100
"""Pixels of a line, or of a dot's radius."""
_SMALLEST_TEXT = 9
_LARGEST_TEXT = 160


def line_width(size: Size) -> int:
    """Width of a line that fits a picture of that size."""
    return max(2, round(min(size) / 110))


def text_size(size: Size) -> int:
    """Height of letters that fit a picture of that size."""
    return max(12, min(_LARGEST_TEXT, round(min(size) / 22)))


def opposite(color: Rgb) -> Rgb:
    """Black on bright colours, white on dark ones."""
    r, g, b = color
    return (0, 0, 0) if 0.299 * r + 0.587 * g + 0.114 * b > 140 else (255, 255, 255)


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes inside Pillow."""
    return ImageFont.load_default(size)


def check_labels(labels: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """One label a place, each short and of letters that the font has.

    Raises:
        ModelFault: `bad_args`.
    """
    if labels is None:
        return ("",) * count
    check_count("labels", labels, count, count)
    for label in labels:
        if len(label) > LONGEST_LABEL:
            raise ModelFault(
                FaultCode.BAD_ARGS,
                f"expected labels of at most {LONGEST_LABEL} characters, got {len(label)}",
                field="labels",
            )
        check_letters(label)
    return tuple(labels)


def check_letters(label: str) -> None:
    """Refuse what the font would draw as an empty frame.

    Raises:
        ModelFault: `bad_args`.
    """
    lacking = [c for c in label if not c.isprintable() or not _has_glyph(c)]
    if lacking:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected labels of Latin letters, digits and signs, got {lacking[0]!a}",
            hint="number the places and name them in words",
            field="labels",
        )


@lru_cache(maxsize=4096)
def _has_glyph(letter: str) -> bool:
    """Whether it looks different from what stands for letters that the font lacks."""
    face = font(32)
    this, none = face.getmask(letter), face.getmask("\uffff")
    return letter == " " or this.size != none.size or bytes(this) != bytes(none)


class Canvas:
    """A copy of a picture that can be drawn on.

    Args:
        image: The picture; it is not changed.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._paper = PILImage.fromarray(image.pixels).copy()
        self._plates: list[Rect] = []

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self._image.size

    def done(self) -> Image:
        """What has been drawn."""
        return Image(np.asarray(self._paper))

    def observe(self) -> Observation:
        """The drawing as a tool's result: each place on it is that place on the picture."""
        return Observation((self.done(),), ways=((Way(self._image),),))

    def frame(self, box: Box, color: Rgb, width: int) -> None:
        """The outline of a box, outside of it where the picture has room."""
        rim = max(1, width // 5)
        x0, y0, x1, y1 = whole_pixels(box, self.size)
        draw = ImageDraw.Draw(self._paper)
        for grown, wide, ink in (
            (width + 2 * rim, width + 2 * rim, opposite(color)),
            (width + rim, width, color),
        ):
            a, b = max(0, x0 - grown), max(0, y0 - grown)
            c, d = min(self.size[0], x1 + grown) - 1, min(self.size[1], y1 + grown) - 1
            draw.rectangle((a, b, c, d), outline=ink, width=wide)

    def dot(self, point: Point, color: Rgb, radius: float) -> None:
        """A filled disc about a point."""
        x, y = self._at(point)
        rim = max(1.0, radius / 4)
        for r, ink in ((radius + rim, opposite(color)), (radius, color)):
            bounds = (x - r, y - r, x + r, y + r)
            self._stamp(bounds, ink, lambda draw, fit, b=bounds: draw.ellipse(fit(b), fill=255))

    def path(self, points: Sequence[Point], color: Rgb, width: int) -> None:
        """Straight lines from point to point, with round ends and corners."""
        spots = [self._at(p) for p in points]
        rim = max(1, width // 5)
        for wide, ink in ((width + 2 * rim, opposite(color)), (width, color)):
            self._stroke(spots, wide, ink)

    def label(self, text: str, near: Box, color: Rgb, height: int) -> None:
        """Words on a plate beside a place: above it, else below, else inside, never cut off."""
        if not text:
            return
        room = self.size[0] - height / 2
        while font(height).getlength(text) > room and height > _SMALLEST_TEXT:
            height = max(_SMALLEST_TEXT, int(height * 0.9))
        face = font(height)
        size = (round(face.getlength(text) + height * 0.5), round(height * 1.3))
        plate = self._free_spot(whole_pixels(near, self.size), size)
        self._plates.append(plate)
        x0, y0, x1, y1 = plate
        draw = ImageDraw.Draw(self._paper)
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=color)
        draw.text(((x0 + x1) / 2, (y0 + y1) / 2), text, opposite(color), face, anchor="mm")

    def name(self, text: str, corner: tuple[float, float], color: Rgb, height: int) -> None:
        """Rimmed letters just inside the left upper corner of a cell, without a plate."""
        x, y = corner[0] * self.size[0], corner[1] * self.size[1]
        rim = max(1, height // 10)
        ImageDraw.Draw(self._paper).text(
            (x + height * 0.3, y + height * 0.2),
            text,
            color,
            font(height),
            stroke_width=rim,
            stroke_fill=opposite(color),
        )

    def _at(self, point: Point) -> tuple[float, float]:
        return point.x * self.size[0], point.y * self.size[1]

    def _free_spot(self, near: Rect, plate: Size) -> Rect:
        """Where a label covers no other one, if there is such a place."""
        x0, y0, x1, y1 = near
        w, h = plate
        gap = line_width(self.size) + 1
        wanted = (
            (x0 - gap, y0 - h - gap),
            (x0 - gap, y1 + gap),
            (x0, y0),
            (x1 - w + gap, y0 - h - gap),
            (x1 - w, y1 - h),
        )
        spots = [(x, y) for x, y in wanted if 0 <= y <= self.size[1] - h] or [(x0, y0)]
        inside = [self._pushed_in(spot, plate) for spot in spots]
        return next((p for p in inside if not any(_meet(p, q) for q in self._plates)), inside[0])

    def _pushed_in(self, spot: tuple[int, int], plate: Size) -> Rect:
        x = max(0, min(spot[0], self.size[0] - plate[0]))
        y = max(0, min(spot[1], self.size[1] - plate[1]))
        return x, y, x + plate[0], y + plate[1]

    def _stroke(self, spots: Sequence[tuple[float, float]], width: int, ink: Rgb) -> None:
        half = width / 2
        xs, ys = [x for x, _ in spots], [y for _, y in spots]
        bounds = (min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half)

        def paint(draw: ImageDraw.ImageDraw, fit: Fit) -> None:
            flat = [v for spot in spots for v in spot]
            unit = fit((1, 0))[0] - fit((0, 0))[0]
            draw.line(fit(flat), fill=255, width=max(1, round(width * unit)))
            for x, y in spots:
                draw.ellipse(fit((x - half, y - half, x + half, y + half)), fill=255)

        self._stamp(bounds, ink, paint)

    def _stamp(
        self,
        bounds: tuple[float, float, float, float],
        ink: Rgb,
        paint: Callable[[ImageDraw.ImageDraw, Fit], object],
    ) -> None:
        """Draw at a finer scale and shrink, so that edges are smooth."""
        x0, y0 = max(0, int(bounds[0]) - 1), max(0, int(bounds[1]) - 1)
        x1 = min(self.size[0], int(bounds[2]) + 2)
        y1 = min(self.size[1], int(bounds[3]) + 2)
        area = (x1 - x0) * (y1 - y0)
        scale = 4 if area <= 1_000_000 else 2 if area <= 8_000_000 else 1
        cover = PILImage.new("L", ((x1 - x0) * scale, (y1 - y0) * scale))

        def fit(flat: Sequence[float]) -> list[float]:
            # Pillow's whole numbers are middles of pixels, ours are their edges.
            return [(v - (y0 if i % 2 else x0)) * scale - 0.5 for i, v in enumerate(flat)]

        paint(ImageDraw.Draw(cover), fit)
        self._paper.paste(ink, (x0, y0, x1, y1), cover.reduce(scale))


def sheet_number(number: int, size: Size, ground: int) -> NDArray[np.uint8]:
    """A number in black, low in the left corner of a strip of that size, uint8 (H, W, 3)."""
    strip = PILImage.new("RGB", size, (ground,) * 3)
    height = max(_SMALLEST_TEXT, round(size[1] * 0.85))
    where = (2, size[1] // 2)
    ImageDraw.Draw(strip).text(where, str(number), (0, 0, 0), font(height), anchor="lm")
    return np.asarray(strip)


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
