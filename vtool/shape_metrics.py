"""How well named places fit those wanted: pure functions of shapes, in unit coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtool.assignment import best_assignment
from vtool.geometry import Box, Mask, Point, iou

Pixel = tuple[float, float]

EARTH_KM = 6371.0088
"""Mean radius of the earth."""


def mean_best_iou(named: Sequence[Box], wanted: Sequence[Box]) -> float:
    """Mean over named boxes of the best IoU with a wanted one; 0 where none is named.

    Source: SpaceTools, R = mean_i max_j IoU. Trap: like precision, it does not count: naming one
    of five, or one five times, is as good as naming all.
    """
    if not named or not wanted:
        return float(not named and not wanted)
    return math.fsum(max(iou(n, w) for w in wanted) for n in named) / len(named)


def matched_iou(named: Sequence[Box], wanted: Sequence[Box]) -> float:
    """Sum of IoU over the best one-to-one matching, over the larger of the two counts.

    A box too many costs as much as one too few; both empty is 1.
    """
    if not named or not wanted:
        return float(not named and not wanted)
    scores = [[iou(n, w) for w in wanted] for n in named]
    total = math.fsum(scores[r][c] for r, c in best_assignment(scores))
    return total / max(len(named), len(wanted))


def any_grid_iou(a: Mask, b: Mask) -> float:
    """IoU of two masks whose grids may differ: both are sampled at the finer one's cells.

    Two empty masks give 0, as in `geometry.mask_iou`.
    """
    height = max(a.cells.shape[0], b.cells.shape[0])
    width = max(a.cells.shape[1], b.cells.shape[1])
    one, other = regrid(a, height, width), regrid(b, height, width)
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def matched_mask_iou(named: Sequence[Mask], wanted: Sequence[Mask]) -> float:
    """As `matched_iou`, for masks."""
    if not named or not wanted:
        return float(not named and not wanted)
    scores = [[any_grid_iou(n, w) for w in wanted] for n in named]
    total = math.fsum(scores[r][c] for r, c in best_assignment(scores))
    return total / max(len(named), len(wanted))


def regrid(mask: Mask, height: int, width: int) -> NDArray[np.bool_]:
    """A mask on another grid over the same square, by the nearest cell; bool (height, width)."""
    h, w = mask.cells.shape
    rows = ((np.arange(height) + 0.5) * h / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * w / width).astype(np.int64)
    out: NDArray[np.bool_] = mask.cells[rows[:, None], columns]
    return out


def distance(a: Point, b: Point) -> float:
    """Euclidean distance in unit coordinates, in [0, sqrt(2)]."""
    return math.hypot(a.x - b.x, a.y - b.y)


def inside(point: Point, area: Box | Mask) -> bool:
    """Whether a point lies in a box or mask; the border of a box counts as inside."""
    if isinstance(area, Box):
        return area.x1 <= point.x <= area.x2 and area.y1 <= point.y <= area.y2
    h, w = area.cells.shape
    return bool(area.cells[min(h - 1, int(point.y * h)), min(w - 1, int(point.x * w))])


def hull_iou(a: Sequence[Pixel], b: Sequence[Pixel]) -> float:
    """IoU of the convex hulls of two point sets; 0 where a hull has no area.

    Source: SpaceTools' pose reward compares hulls of projected corners.
    """
    one, other = convex_hull(a), convex_hull(b)
    area_a, area_b = area(one), area(other)
    if area_a <= 0 or area_b <= 0:
        return 0.0
    shared = area(clip(one, other))
    return shared / (area_a + area_b - shared)


def convex_hull(points: Sequence[Pixel]) -> list[Pixel]:
    """Corners of the hull, counter-clockwise in x right, y up. Source: Andrew's monotone chain."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    return [*_chain(ordered), *_chain(ordered[::-1])]


def area(polygon: Sequence[Pixel]) -> float:
    """Area of a polygon whose corners go counter-clockwise. Source: the shoelace formula."""
    pairs = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    return 0.5 * math.fsum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)


def clip(subject: Sequence[Pixel], by: Sequence[Pixel]) -> list[Pixel]:
    """The part of a polygon inside a convex one. Source: Sutherland and Hodgman."""
    out = list(subject)
    for start, end in zip(by, [*by[1:], *by[:1]], strict=True):
        given, out = out, []
        for p, q in zip(given, [*given[1:], *given[:1]], strict=True):
            left_p, left_q = _turn(start, end, p), _turn(start, end, q)
            if left_p >= 0:
                out.append(p)
            if left_p * left_q < 0:
                t = left_p / (left_p - left_q)
                out.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return out


def great_circle_km(a: Pixel, b: Pixel) -> float:
    """Distance on the earth between two places given as (latitude, longitude) in degrees."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*a, *b))
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, h)))


def _chain(ordered: Sequence[Pixel]) -> list[Pixel]:
    out: list[Pixel] = []
    for point in ordered:
        while len(out) >= 2 and _turn(out[-2], out[-1], point) <= 0:
            out.pop()
        out.append(point)
    return out[:-1]


def _turn(a: Pixel, b: Pixel, c: Pixel) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
