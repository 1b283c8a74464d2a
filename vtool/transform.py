"""Affine maps between the unit coordinates of a derived picture and of what it was made from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Box, Mask, Point, Shape, Size, Span, Unmappable

_SLACK = 1e-9
"""Unit coordinates this far outside the square are rounding, not places."""


@dataclass(frozen=True, slots=True)
class Affine:
    """x' = a x + b y + c, y' = d x + e y + f, from a child's unit square to its parent's."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def identity(cls) -> Affine:
        """The map of a picture onto itself (also of any resize: unit coordinates keep)."""
        return cls(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @classmethod
    def crop(cls, box: Box) -> Affine:
        """From the unit square of a crop to the picture it was cut from."""
        return cls(box.x2 - box.x1, 0.0, box.x1, 0.0, box.y2 - box.y1, box.y1)

    @classmethod
    def rotation(cls, degrees: float, parent: Size, child: Size) -> Affine:
        """From a picture turned counter-clockwise about its centre to the unturned one.

        Args:
            degrees: Angle, counter-clockwise as seen.
            parent: Size before turning.
            child: Size after turning (the canvas may have grown).
        """
        # Quarter turns are exact: cos(90 degrees) is not 0 in floating point.
        quarter = round(degrees / 90)
        exact = math.isclose(degrees, quarter * 90, abs_tol=1e-12)
        rad = math.radians(degrees)
        cos = float((1, 0, -1, 0)[quarter % 4]) if exact else math.cos(rad)
        sin = float((0, 1, 0, -1)[quarter % 4]) if exact else math.sin(rad)
        (pw, ph), (cw, ch) = parent, child
        # Pixel offsets from the child's centre, turned back clockwise (y points down).
        a, b = cos * cw / pw, -sin * ch / pw
        d, e = sin * cw / ph, cos * ch / ph
        return cls(a, b, 0.5 - (a + b) / 2, d, e, 0.5 - (d + e) / 2)

    def then(self, outer: Affine) -> Affine:
        """This map followed by `outer` (child to parent, then parent to grandparent)."""
        return Affine(
            outer.a * self.a + outer.b * self.d,
            outer.a * self.b + outer.b * self.e,
            outer.a * self.c + outer.b * self.f + outer.c,
            outer.d * self.a + outer.e * self.d,
            outer.d * self.b + outer.e * self.e,
            outer.d * self.c + outer.e * self.f + outer.f,
        )

    def inverse(self) -> Affine:
        """The map from the parent's unit square to the child's."""
        det = self.a * self.e - self.b * self.d
        a, b, d, e = self.e / det, -self.b / det, -self.d / det, self.a / det
        return Affine(a, b, -(a * self.c + b * self.f), d, e, -(d * self.c + e * self.f))

    @property
    def straight(self) -> bool:
        """Whether boxes stay boxes (no turn, or quarter turns only)."""
        return (abs(self.b) < 1e-12 and abs(self.d) < 1e-12) or (
            abs(self.a) < 1e-12 and abs(self.e) < 1e-12
        )

    def xy(self, x: float, y: float) -> tuple[float, float]:
        """Map raw unit coordinates, unchecked."""
        return (self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f)

    def apply(self, shape: Shape) -> Shape | Unmappable:
        """Map a shape from child to parent.

        A box under a turn that is no quarter turn becomes the smallest box around it; what
        falls outside the parent is cut off, and a shape wholly outside is `Unmappable`.
        """
        if isinstance(shape, Point):
            return _point(*self.xy(shape.x, shape.y))
        if isinstance(shape, Box):
            return self._box(shape)
        if isinstance(shape, Mask):
            return self._mask(shape)
        return shape if isinstance(shape, Span) else Unmappable(f"no map for {type(shape)}")

    def _box(self, box: Box) -> Box | Unmappable:
        xs, ys = zip(*(self.xy(p.x, p.y) for p in box.corners()), strict=True)
        x1, y1 = max(0.0, min(xs)), max(0.0, min(ys))
        x2, y2 = min(1.0, max(xs)), min(1.0, max(ys))
        if x1 >= x2 or y1 >= y2:
            return Unmappable("the box lies outside the source")
        return Box(x1, y1, x2, y2)

    def _mask(self, mask: Mask) -> Mask | Unmappable:
        """Nearest-cell sampling onto a parent grid of matching density."""
        h, w = mask.cells.shape
        inv = self.inverse()
        height = max(1, round(h * math.hypot(inv.d, inv.e)))
        width = max(1, round(w * math.hypot(inv.a, inv.b)))
        if height * width > 64_000_000:
            return Unmappable("the mask's grid on the source would be too large")
        cells = sample_cells(mask.cells, inv, width, height)
        return Mask(cells) if cells.any() else Unmappable("the mask is empty on the source")


def _point(x: float, y: float) -> Point | Unmappable:
    if not (-_SLACK <= x <= 1 + _SLACK and -_SLACK <= y <= 1 + _SLACK):
        return Unmappable("the point lies outside the source")
    return Point(min(1.0, max(0.0, x)), min(1.0, max(0.0, y)))


def sample_cells(
    cells: NDArray[np.bool_], to_child: Affine, width: int, height: int
) -> NDArray[np.bool_]:
    """Cells (H, W) of another extent, each by the cell of `cells` in which its middle lies.

    Args:
        cells: (h, w) over the child's unit square.
        to_child: From the new extent's unit square to the child's.
        width: Columns of the new grid.
        height: Rows of the new grid.
    """
    h, w = cells.shape
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height)[:, None] + 0.5) / height
    cx = np.floor((to_child.a * x + to_child.b * y + to_child.c) * w).astype(np.int64)
    cy = np.floor((to_child.d * x + to_child.e * y + to_child.f) * h).astype(np.int64)
    inside = (cx >= 0) & (cx < w) & (cy >= 0) & (cy < h)
    out = np.zeros((height, width), dtype=np.bool_)
    out[inside] = cells[cy[inside], cx[inside]]
    return out
