"""Charts without weights: plot areas by their axis lines, and where the ticks stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INK = 60
"""How far a grey level must lie from the paper's to count as drawn."""
_SHARE = 0.08
"""Shortest line that may be an axis, as a share of the picture's side."""
_SHORTEST = 25
_MOST = 200
"""Lines of one direction that are looked at; photographs have many."""
_REACH = 10
"""Pixels around a line in which its ticks end."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The plot area of one chart, in pixels of the picture.

    Args:
        left: Column of the y axis (or of the frame's left side), centre of the line.
        top: Likewise.
        right: Likewise.
        bottom: Row of the x axis.
        thick: Width of its lines.
    """

    left: float
    top: float
    right: float
    bottom: float
    thick: int = 1


def ink(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What is drawn: bool (H, W), by distance from the paper, the level most seen at the rim."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    drawn: NDArray[np.bool_] = np.abs(grey - float(np.median(rim))) > INK
    return drawn


def find_frames(drawn: NDArray[np.bool_]) -> list[Frame]:
    """Plot areas: an upright and a level line that meet at the lower left, and their extent.

    A full box gives the frame; two axes alone give the area that they span. Frames that lie
    inside another (grids, bars, legends) are left out.
    """
    across, down = _segments(drawn, 1), _segments(drawn, 0)
    frames = []
    for axis_x in across:
        for axis_y in down:
            if _meet(axis_x, axis_y):
                thick = max(axis_x[3], axis_y[3])
                frames.append(Frame(axis_y[0], axis_y[1], axis_x[2], axis_x[0], thick))
    frames.sort(key=lambda f: -(f.right - f.left) * (f.bottom - f.top))
    kept: list[Frame] = []
    for frame in frames:
        if not any(_inside(frame, other) for other in kept):
            kept.append(frame)
    return sorted(kept, key=lambda f: (round(f.top / 16), f.left))


def _segments(drawn: NDArray[np.bool_], axis: int) -> list[tuple[float, float, float, int]]:
    """Thin straight lines, longest first: (centre across, from, to, thickness), pixels.

    A run of ink is part of a line where one side of it is mostly paper and the other is not
    all ink: bars may stand on an axis, but the edge of a filled shape is no line.

    Args:
        drawn: bool (H, W).
        axis: 1 for level lines, 0 for upright ones.
    """
    grid = drawn if axis == 1 else drawn.T
    thickest = max(3, min(drawn.shape) // 100)
    summed = np.pad(np.cumsum(grid, axis=1, dtype=np.intp), ((0, 0), (1, 0)))
    rows, starts, ends = _long_runs(grid, max(_SHORTEST, int(grid.shape[1] * _SHARE)))
    sides = [_covered(summed, rows + away, starts, ends) for away in (-thickest - 1, thickest + 1)]
    thin = (np.minimum(*sides) < 0.5) & (np.maximum(*sides) < 0.97)
    lines: list[list[tuple[int, int, int]]] = []
    for row, start, end in zip(rows[thin], starts[thin], ends[thin], strict=True):
        run = (int(row), int(start), int(end))
        near = (n for n in lines if run[0] - n[-1][0] == 1 and _same_run(n[-1], run))
        line = next(near, None)
        if line is None:
            lines.append([run])
        else:
            line.append(run)
    found = [
        (
            (n[0][0] + n[-1][0]) / 2,
            float(min(r[1] for r in n)),
            float(max(r[2] for r in n)),
            len(n),
        )
        for n in lines
        if len(n) <= thickest
    ]
    return sorted(found, key=lambda f: (f[1] - f[2], f))[:_MOST]


def _long_runs(grid: NDArray[np.bool_], least: int) -> tuple[NDArray[np.intp], ...]:
    """Row, first and last column of every run of ink of at least so many pixels."""
    padded = np.pad(grid, ((0, 0), (1, 1))).astype(np.int8)
    rows, edges = np.nonzero(np.diff(padded, axis=1))
    starts, ends = edges[::2], edges[1::2] - 1
    long = ends - starts + 1 >= least
    return rows[::2][long], starts[long], ends[long]


def _covered(
    summed: NDArray[np.intp],
    rows: NDArray[np.intp],
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Share of ink in other rows over the same columns; beyond the picture all is paper."""
    there = (rows >= 0) & (rows < summed.shape[0])
    at = np.clip(rows, 0, summed.shape[0] - 1)
    share: NDArray[np.float64] = (summed[at, ends + 1] - summed[at, starts]) / (ends - starts + 1)
    return np.where(there, share, 0.0)


def _same_run(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    """Whether runs of two rows lie above each other over nearly all their length."""
    shared = min(a[2], b[2]) - max(a[1], b[1])
    return shared > 0.9 * (max(a[2], b[2]) - min(a[1], b[1]))


def _meet(level: tuple[float, float, float, int], upright: tuple[float, float, float, int]) -> bool:
    """Whether both lines meet at the lower left; a tick there may carry either one further."""
    near = 2 + max(level[3], upright[3])
    left, below = upright[0] - level[1], upright[2] - level[0]
    return -near <= left <= near + _REACH and -near <= below <= near + _REACH


def _inside(a: Frame, b: Frame) -> bool:
    """Whether most of `a` lies in `b`."""
    w = min(a.right, b.right) - max(a.left, b.left)
    h = min(a.bottom, b.bottom) - max(a.top, b.top)
    return w > 0 and h > 0 and w * h > 0.5 * (a.right - a.left) * (a.bottom - a.top)


def find_ticks(drawn: NDArray[np.bool_], frame: Frame, axis: str) -> list[float]:
    """Where major ticks stand, pixels along the axis, in rising order.

    Ticks that point outward are looked for first, then inward ones. Where ticks have two
    lengths, the longer are the major ones.

    Args:
        drawn: bool (H, W).
        frame: Whose axis.
        axis: ``x`` (below the frame) or ``y`` (to its left).
    """
    for outward in (True, False):
        strip = _strip(drawn, frame, axis, outward)
        ticks = _runs(strip, frame.thick)
        if len(ticks) >= 2 or (ticks and outward):
            low = frame.left if axis == "x" else frame.top
            return [low - _REACH + t for t in ticks]
    return []


def are_regular(places: Sequence[float]) -> bool:
    """Whether there are three ticks or more, evenly spaced to two pixels."""
    return len(places) >= 3 and float(np.ptp(np.diff(places))) <= 2


def _strip(drawn: NDArray[np.bool_], frame: Frame, axis: str, outward: bool) -> NDArray[np.bool_]:
    """The rim of an axis, seen as (distance from the line, place along it)."""
    half = (frame.thick - 1) / 2
    grid = drawn if axis == "x" else drawn.T[::-1][::-1]
    line = frame.bottom if axis == "x" else frame.left
    away = 1 if (axis == "x") == outward else -1
    first = math.ceil(line + half) + 1 if away > 0 else math.floor(line - half) - 1
    rows = [first + away * i for i in range(_REACH)]
    low, high = (frame.left, frame.right) if axis == "x" else (frame.top, frame.bottom)
    columns = np.arange(round(low) - _REACH, round(high) + _REACH + 1)
    out = np.zeros((_REACH, len(columns)), np.bool_)
    right = (columns >= 0) & (columns < grid.shape[1])
    for i, row in enumerate(rows):
        if 0 <= row < grid.shape[0]:
            out[i, right] = grid[row, columns[right]]
    return out


def _runs(strip: NDArray[np.bool_], thick: int) -> list[float]:
    """Centres of short marks that begin at the line, those of the greatest length."""
    reach = np.where(strip.all(axis=0), len(strip), strip.argmin(axis=0))
    marked = np.flatnonzero((reach >= 2) & (reach < len(strip)))
    marks: list[tuple[float, int]] = []
    for group in np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1):
        if len(group) and len(group) <= thick + 2:
            marks.append((float(group.mean()), int(reach[group].max())))
    longest = max((r for _, r in marks), default=0)
    return [at for at, r in marks if r >= longest - 1]
