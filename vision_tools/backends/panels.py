"""Panels of a figure, parted by the paper between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of a figure, in whole pixels, xyxy."""

    x0: int
    y0: int
    x1: int
    y1: int


def find_panels(drawn: NDArray[np.bool_], *, min_gap: int, min_side: float) -> list[Panel]:
    """Panels of a figure, by cutting along its widest empty bands again and again.

    Args:
        drawn: bool (H, W).
        min_gap: Pixels of paper that part two panels; names of axes stand closer to them.
        min_side: Share of the figure's sides below which a piece is no panel (a title, a
            legend) and is left out.

    Returns:
        Row by row, each as small as its ink; one if there is nothing to part, none if all is
        paper.
    """
    height, width = drawn.shape
    least = (min_side * height, min_side * width)
    pieces, scraps = _cut_up(drawn, Panel(0, 0, width, height), min_gap, least)
    if not pieces:
        return []
    for scrap in sorted(scraps, key=lambda s: min(_apart(s, p) for p in pieces)):
        near = min(range(len(pieces)), key=lambda i: _apart(scrap, pieces[i]))
        if _apart(scrap, pieces[near]) <= 1.5 * min_gap:
            pieces[near] = _around(pieces[near], scrap)
    rows: list[list[Panel]] = []
    for piece in sorted(pieces, key=lambda p: p.y0):
        if rows and piece.y0 < (rows[-1][0].y0 + rows[-1][0].y1) / 2:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [p for row in rows for p in sorted(row, key=lambda p: p.x0)]


def _cut_up(
    drawn: NDArray[np.bool_], piece: Panel, min_gap: int, least: tuple[float, float]
) -> tuple[list[Panel], list[Panel]]:
    """Panels and smaller scraps of a piece, cut at its widest gap until there is none."""
    tight = _tight(drawn, piece)
    if tight is None:
        return [], []
    inner = drawn[tight.y0 : tight.y1, tight.x0 : tight.x1]
    gaps = [(b - a, axis, a, b) for axis in (0, 1) for a, b in _gaps(inner, axis, min_gap)]
    large = tight.y1 - tight.y0 >= least[0] and tight.x1 - tight.x0 >= least[1]
    if gaps:
        _, axis, a, b = max(gaps)
        first, second = _halves(tight, axis, (a + b) // 2)
        one = _cut_up(drawn, first, min_gap, least)
        other = _cut_up(drawn, second, min_gap, least)
        panels, scraps = one[0] + other[0], one[1] + other[1]
        # One panel that is not most of the piece: the cuts went through a drawing.
        if len(panels) > 1 or (panels and 2 * _area(panels[0]) > _area(tight)):
            return panels, scraps
    return ([tight], []) if large else ([], [tight])


def _apart(scrap: Panel, panel: Panel) -> float:
    """Pixels between a title or a name and the panel along whose side it lies, else infinite."""
    across = max(scrap.x0 - panel.x1, panel.x0 - scrap.x1, 0)
    down = max(scrap.y0 - panel.y1, panel.y0 - scrap.y1, 0)
    beside = panel.y0 <= scrap.y0 and scrap.y1 <= panel.y1
    along = panel.x0 <= scrap.x0 and scrap.x1 <= panel.x1
    return down if along else across if beside else math.inf


def _around(a: Panel, b: Panel) -> Panel:
    return Panel(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))


def _area(panel: Panel) -> int:
    return (panel.x1 - panel.x0) * (panel.y1 - panel.y0)


def _gaps(inner: NDArray[np.bool_], axis: int, least: int) -> list[tuple[int, int]]:
    """Empty bands across a piece of at least so many pixels: (from, to)."""
    empty = ~inner.any(axis=1 - axis)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], empty.astype(np.int8), [0]])))
    return [
        (int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= least
    ]


def _halves(piece: Panel, axis: int, at: int) -> tuple[Panel, Panel]:
    if axis == 0:
        middle = piece.y0 + at
        return (
            Panel(piece.x0, piece.y0, piece.x1, middle),
            Panel(piece.x0, middle, piece.x1, piece.y1),
        )
    middle = piece.x0 + at
    return (
        Panel(piece.x0, piece.y0, middle, piece.y1),
        Panel(middle, piece.y0, piece.x1, piece.y1),
    )


def _tight(drawn: NDArray[np.bool_], piece: Panel) -> Panel | None:
    """The piece, less the paper around its ink."""
    ys, xs = np.nonzero(drawn[piece.y0 : piece.y1, piece.x0 : piece.x1])
    if not len(ys):
        return None
    return Panel(
        piece.x0 + int(xs.min()),
        piece.y0 + int(ys.min()),
        piece.x0 + int(xs.max()) + 1,
        piece.y0 + int(ys.max()) + 1,
    )
