"""What scripted policies see by themselves: coloured things in a first look, a digit in a view.

Pixels only; nothing here knows a scene.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vtool.message import Json

from .drawing import COLORS, PALETTE, Pixels, glyph

UnitBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 from 0 to 1."""

_COVER: Final = 0.35
"""Least share of a pixel that a colour must cover."""
_ASTRAY: Final = 45.0
"""How far a pixel may lie off the line from the background to a colour."""
_SIDE: Final = (28, 20)


def cover(view: Pixels, color: str) -> NDArray[np.float64]:
    """How much of each pixel a colour of the palette covers, 0 to 1, over the commonest colour.

    A pixel that another colour explains better counts as none of this one.
    """
    px = view.astype(np.float64)
    back = np.median(px.reshape(-1, 3), axis=0)
    shares, errors = zip(
        *(_line(px - back, np.array(PALETTE[c]) - back) for c in COLORS), strict=True
    )
    at = COLORS.index(color)
    mine = np.argmin(np.stack(errors), axis=0) == at
    fits = mine & (errors[at] < _ASTRAY) & (shares[at] > _COVER)
    return np.where(fits, np.minimum(shares[at], 1.0), 0.0)


def _line(
    offset: NDArray[np.float64], axis: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = np.clip(offset @ axis / (axis @ axis), 0, 1.2)
    return share, np.linalg.norm(offset - share[..., None] * axis, axis=2)


def spots(view: Pixels, color: str, least: float = 2.0) -> list[UnitBox]:
    """Connected patches of a colour, largest first, as boxes."""
    covered = cover(view, color)
    height, width = covered.shape
    found = []
    for cells in _patches(covered > 0):
        weight = float(sum(covered[y, x] for y, x in cells))
        if weight < least:
            continue
        ys, xs = [y for y, _ in cells], [x for _, x in cells]
        box = (min(xs) / width, min(ys) / height, (max(xs) + 1) / width, (max(ys) + 1) / height)
        found.append((weight, box))
    return [box for _, box in sorted(found, reverse=True)]


def disc(view: Pixels, color: str, most: float = 1.0) -> UnitBox | None:
    """The square around the largest patch of a colour: a disc keeps its width where ink is.

    Args:
        view: Where to look.
        color: Of the disc.
        most: Patches that are wider than this are no disc.
    """
    seen = [s for s in spots(view, color) if max(s[2] - s[0], s[3] - s[1]) <= most]
    if not seen:
        return None
    x1, y1, x2, y2 = seen[0]
    return squared((x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1))


def squared(x: float, y: float, side: float) -> UnitBox:
    """A square about a point, moved into the picture."""
    x1, y1 = (min(max(0.0, v - side / 2), 1 - side) for v in (x, y))
    return x1, y1, x1 + side, y1 + side


def grown(box: UnitBox, factor: float) -> UnitBox:
    """A square box about the same middle, inside the picture."""
    side = min(1.0, max(box[2] - box[0], box[3] - box[1]) * factor)
    return squared((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, side)


def thousandths(box: UnitBox) -> list[Json]:
    """A box as the Hermes form writes it."""
    return [round(v * 1000) for v in box]


def colors_in(view: Pixels) -> dict[str, UnitBox]:
    """Every colour of the palette that has a disc in the view."""
    found = {c: disc(view, c, 0.5) for c in COLORS}
    return {c: box for c, box in found.items() if box is not None}


def read_digit(view: Pixels) -> str | None:
    """The digit whose bitmap the dark ink of a view resembles most; None without ink."""
    light = view.astype(np.int64).sum(2)
    height, width = light.shape
    inner = light[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    middle = _largest(light < np.median(inner) / 2)
    if middle is None:
        return None
    ys, xs = np.nonzero(middle)
    shape = middle[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    tall = shape.shape[0] / shape.shape[1]
    scores = {d: _alike(shape, tall, bitmap) for d, bitmap in enumerate(_bitmaps())}
    return str(max(scores, key=lambda d: scores[d]))


@cache
def _bitmaps() -> tuple[NDArray[np.bool_], ...]:
    out = []
    for digit in range(10):
        bits = glyph(digit)
        columns = np.nonzero(bits.any(0))[0]
        out.append(bits[:, columns.min() : columns.max() + 1])
    return tuple(out)


def _alike(shape: NDArray[np.bool_], tall: float, bitmap: NDArray[np.bool_]) -> float:
    a, b = _fitted(shape), _fitted(bitmap)
    same = float((a == b).mean())
    ratio = tall / (bitmap.shape[0] / bitmap.shape[1])
    return same - 0.3 * abs(float(np.log(ratio)))


def _fitted(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows = (np.arange(_SIDE[0]) + 0.5) / _SIDE[0] * bits.shape[0]
    columns = (np.arange(_SIDE[1]) + 0.5) / _SIDE[1] * bits.shape[1]
    fitted: NDArray[np.bool_] = bits[rows.astype(int)][:, columns.astype(int)]
    return fitted


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    found = max(_patches(mask, diagonal=True), key=len, default=[])
    if len(found) < 4:
        return None
    out = np.zeros_like(mask)
    ys, xs = zip(*found, strict=True)
    out[list(ys), list(xs)] = True
    return out


def _patches(mask: NDArray[np.bool_], *, diagonal: bool = False) -> list[list[tuple[int, int]]]:
    """Connected cells, in reading order of their first."""
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)] if diagonal else []
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        left.discard(start)
        cells, queue = [start], [start]
        while queue:
            y, x = queue.pop()
            for dy, dx in steps:
                near = (y + dy, x + dx)
                if near in left:
                    left.discard(near)
                    cells.append(near)
                    queue.append(near)
        found.append(cells)
    return found
