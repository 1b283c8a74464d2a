"""Locations in unit coordinates, and the conventions in which models write them.

Inside vtool a location is always in unit coordinates of one named picture: x and y in [0, 1]
from the top left corner to the bottom right one. Raw numbers enter and leave through a
`Convention`, which says units and order; nothing here guesses a convention from values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, GeometryError

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""


def check_finite(values: Sequence[float], count: int = 4) -> None:
    """Refuse anything but `count` finite numbers.

    Raises:
        GeometryError: `bad_box`.
    """
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise GeometryError(f"expected {count} finite numbers, got {list(values)}")


def check_corners(values: Sequence[float]) -> None:
    """Refuse x1 > x2 or y1 > y2: nothing is swapped silently.

    Raises:
        GeometryError: `bad_box`.
    """
    x1, y1, x2, y2 = values
    if x1 > x2 or y1 > y2:
        raise GeometryError(f"box is inverted: needs x1 < x2 and y1 < y2, got {list(values)}")


def check_area(values: Sequence[float]) -> None:
    """Refuse a box of no width or no height.

    Raises:
        GeometryError: `bad_box`.
    """
    x1, y1, x2, y2 = values
    if x1 == x2 or y1 == y2:
        raise GeometryError(f"box has no area: {list(values)}")


def check_unit(values: Sequence[float]) -> None:
    """Refuse values outside the unit square.

    Raises:
        GeometryError: `box_outside`.
    """
    if min(values) < 0 or max(values) > 1:
        raise GeometryError(f"box leaves the unit square: {values}", FaultCode.BOX_OUTSIDE)


def check_touches(values: Sequence[float], width: float, height: float) -> None:
    """Refuse a box that shares no area with a picture of that width and height.

    Raises:
        GeometryError: `box_outside`, with what the picture spans.
    """
    x1, y1, x2, y2 = values
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise GeometryError(
            f"box lies outside the picture, which spans 0 to {width:g} by 0 to {height:g}; "
            f"got {list(values)}",
            FaultCode.BOX_OUTSIDE,
        )


def clamp(value: float) -> float:
    """The nearest value in [0, 1]."""
    return min(1.0, max(0.0, value))


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box, unit xyxy, with 0 <= x1 < x2 <= 1 and likewise for y."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        values = (self.x1, self.y1, self.x2, self.y2)
        check_finite(values)
        check_corners(values)
        check_area(values)
        check_unit(values)

    @property
    def area(self) -> float:
        """Area as a share of the picture."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    @property
    def center(self) -> Point:
        """The middle of the box."""
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    def overlap(self, other: Box) -> float:
        """Shared area, as a share of the picture."""
        w = min(self.x2, other.x2) - max(self.x1, other.x1)
        h = min(self.y2, other.y2) - max(self.y1, other.y1)
        return max(0.0, w) * max(0.0, h)

    def corners(self) -> tuple[Point, Point, Point, Point]:
        """The four corners, clockwise from the top left."""
        return (
            Point(self.x1, self.y1),
            Point(self.x2, self.y1),
            Point(self.x2, self.y2),
            Point(self.x1, self.y2),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """A point, unit x and y in [0, 1]."""

    x: float
    y: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise GeometryError(f"point needs two finite numbers, got {(self.x, self.y)}")
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise GeometryError(
                f"point leaves the unit square: {(self.x, self.y)}", FaultCode.BOX_OUTSIDE
            )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds from the start of a clip, start <= end."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise GeometryError(
                f"span needs finite seconds, got {(self.start_s, self.end_s)}", FaultCode.BAD_WINDOW
            )
        if self.start_s < 0 or self.end_s <= self.start_s:
            raise GeometryError(
                f"span needs 0 <= start < end, got {(self.start_s, self.end_s)}",
                FaultCode.BAD_WINDOW,
            )


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A set of cells of a picture: bool (H, W) over the unit square."""

    cells: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or self.cells.dtype != np.bool_ or 0 in self.cells.shape:
            raise GeometryError(
                f"mask needs a bool array (H, W), got {self.cells.dtype} {self.cells.shape}"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.cells, other.cells)

    def __hash__(self) -> int:
        return hash((self.cells.shape, self.cells.tobytes()))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """Plain values of a mask are COCO's run lengths, as in result files."""
        from pydantic_core import core_schema

        from vtool.rle import encode_mask

        written = core_schema.plain_serializer_function_ser_schema(encode_mask)
        return core_schema.is_instance_schema(cls, serialization=written)

    @property
    def area(self) -> float:
        """Share of the picture that is set."""
        return float(self.cells.mean())

    def box(self) -> Box:
        """The smallest box around the set cells.

        Raises:
            GeometryError: The mask is empty.
        """
        ys, xs = np.nonzero(self.cells)
        if xs.size == 0:
            raise GeometryError("mask is empty: it has no box")
        h, w = self.cells.shape
        return Box(
            float(xs.min() / w),
            float(ys.min() / h),
            float((xs.max() + 1) / w),
            float((ys.max() + 1) / h),
        )


Shape: TypeAlias = Box | Point | Mask | Span


@dataclass(frozen=True, slots=True)
class Region:
    """A place in one picture or clip of an episode."""

    media: str
    """Handle in the episode's store, such as ``image_2``."""
    shape: Shape


@dataclass(frozen=True, slots=True)
class Unmappable:
    """The answer where a place has no counterpart in the source."""

    reason: str


class Units(StrEnum):
    """What raw coordinates count."""

    SHOWN = "shown"
    """Pixels of the picture at the size at which the model saw it."""
    ORIGINAL = "original"
    """Pixels of the picture as it lies in the store."""
    UNIT = "unit"
    """Shares of the side, 0 to 1."""
    THOUSAND = "thousand"
    """Thousandths of the side, 0 to 1000."""
    CANVAS = "canvas"
    """Pixels of a fixed canvas onto which every picture is stretched."""


@dataclass(frozen=True, slots=True)
class Convention:
    """How one model family writes coordinates.

    Args:
        units: What the numbers count.
        order: Corner order of boxes.
        canvas: Size of the fixed canvas, for `Units.CANVAS` only.
        digits: Decimals written; None writes what units suggest (integers but for `UNIT`).
    """

    units: Units = Units.THOUSAND
    order: Literal["xyxy", "xywh"] = "xyxy"
    canvas: Size | None = None
    digits: int | None = None

    def __post_init__(self) -> None:
        if (self.units is Units.CANVAS) != (self.canvas is not None):
            raise GeometryError("a canvas size goes with canvas units, and only with them")

    def scale(self, *, original: Size, shown: Size | None) -> tuple[float, float]:
        """Raw units per picture width and height.

        Args:
            original: Size of the picture in the store.
            shown: Size at which the model saw it; needed for `Units.SHOWN`.

        Raises:
            GeometryError: Shown units for a picture that was never shown.
        """
        if self.units is Units.UNIT:
            return (1.0, 1.0)
        if self.units is Units.THOUSAND:
            return (1000.0, 1000.0)
        size = original if self.units is Units.ORIGINAL else self.canvas or shown
        if size is None:
            raise GeometryError("coordinates count shown pixels, but the picture was never shown")
        return (float(size[0]), float(size[1]))

    def describe(self) -> str:
        """One phrase for a tool schema."""
        corners = "[x1, y1, x2, y2]" if self.order == "xyxy" else "[x, y, width, height]"
        unit = {
            Units.SHOWN: "pixels of the picture as shown",
            Units.ORIGINAL: "pixels of the original picture",
            Units.UNIT: "shares of the side, 0 to 1",
            Units.THOUSAND: "thousandths of the side, 0 to 1000",
            Units.CANVAS: f"pixels of a {self.canvas} canvas",
        }[self.units]
        return f"{corners} in {unit}"

    def read_box(self, raw: Sequence[float], *, original: Size, shown: Size | None = None) -> Box:
        """Turn raw numbers into a box; the part outside the picture is cut off.

        Raises:
            GeometryError: NaN, inverted, empty (`bad_box`) or wholly outside (`box_outside`).
        """
        check_finite(raw)
        x1, y1, x2, y2 = raw
        if self.order == "xywh":
            x2, y2 = x1 + x2, y1 + y2
        sx, sy = self.scale(original=original, shown=shown)
        corners = (x1, y1, x2, y2)
        check_corners(corners)
        check_area(corners)
        check_touches(corners, sx, sy)
        return Box(*(clamp(v / s) for v, s in zip(corners, (sx, sy, sx, sy), strict=True)))

    def write_box(self, box: Box, *, original: Size, shown: Size | None = None) -> list[float]:
        """Turn a box into raw numbers; integers for every unit but `UNIT`."""
        sx, sy = self.scale(original=original, shown=shown)
        x1, y1, x2, y2 = box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy
        raw = (x1, y1, x2 - x1, y2 - y1) if self.order == "xywh" else (x1, y1, x2, y2)
        return [self._round(v) for v in raw]

    def read_point(
        self, raw: Sequence[float], *, original: Size, shown: Size | None = None
    ) -> Point:
        """Turn two raw numbers into a point.

        Raises:
            GeometryError: NaN (`bad_box`) or outside the picture (`box_outside`).
        """
        check_finite(raw, 2)
        sx, sy = self.scale(original=original, shown=shown)
        return Point(raw[0] / sx, raw[1] / sy)

    def write_point(
        self, point: Point, *, original: Size, shown: Size | None = None
    ) -> list[float]:
        """Turn a point into raw numbers."""
        sx, sy = self.scale(original=original, shown=shown)
        return [self._round(point.x * sx), self._round(point.y * sy)]

    def _round(self, value: float) -> float:
        digits = self.digits if self.digits is not None else (4 if self.units is Units.UNIT else 0)
        return round(value, digits) if digits else round(value)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    shared = a.overlap(b)
    return shared / (a.area + b.area - shared)


def coverage(target: Box, by: Box) -> float:
    """Share of `target` that `by` covers, in [0, 1]."""
    return min(1.0, target.overlap(by) / target.area)


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one grid; two empty masks give 0.

    Raises:
        GeometryError: The grids differ.
    """
    if a.cells.shape != b.cells.shape:
        raise GeometryError(f"masks differ in grid: {a.cells.shape} and {b.cells.shape}")
    union = int((a.cells | b.cells).sum())
    return int((a.cells & b.cells).sum()) / union if union else 0.0


def span_iou(a: Span, b: Span) -> float:
    """Temporal intersection over union, in [0, 1]."""
    shared = max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
    return shared / ((a.end_s - a.start_s) + (b.end_s - b.start_s) - shared)
