"""The closest two points of two sets, exactly, without a tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Gap:
    """The closest pair.

    Args:
        distance: Between them, in the points' unit.
        first: Row of the one in the first set.
        second: Row of the other in the second set.
    """

    distance: float
    first: int
    second: int


def closest(first: NDArray[np.float64], second: NDArray[np.float64]) -> Gap:
    """The closest pair of two sets of points.

    Points are put into blocks that lie together; pairs of blocks are compared from the nearest
    on, until no block can hold a closer pair.

    Args:
        first: (N, 3), at least one.
        second: (M, 3), at least one.
    """
    ours, theirs = _blocks(first), _blocks(second)
    bounds = _between_boxes(first, ours, second, theirs)
    best = Gap(np.inf, 0, 0)
    for at in np.argsort(bounds, axis=None, kind="stable"):
        i, j = np.unravel_index(at, bounds.shape)
        if bounds[i, j] >= best.distance:
            break
        best = min(best, _closest_in(first, ours[i], second, theirs[j]), key=_distance)
    return best


def _distance(gap: Gap) -> float:
    return gap.distance


def _closest_in(
    first: NDArray[np.float64],
    ours: NDArray[np.int64],
    second: NDArray[np.float64],
    theirs: NDArray[np.int64],
) -> Gap:
    away = np.linalg.norm(first[ours][:, None] - second[theirs][None], axis=-1)
    i, j = np.unravel_index(np.argmin(away), away.shape)
    return Gap(float(away[i, j]), int(ours[i]), int(theirs[j]))


def _blocks(points: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rows by halves along the longest side, until none holds more than `_BLOCK`."""
    todo, done = [np.arange(len(points))], []
    while todo:
        rows = todo.pop()
        if len(rows) <= _BLOCK:
            done.append(rows)
            continue
        part = points[rows]
        side = int(np.ptp(part, axis=0).argmax())
        order = np.argpartition(part[:, side], len(rows) // 2)
        todo += [rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]]
    return done


def _between_boxes(
    first: NDArray[np.float64],
    ours: list[NDArray[np.int64]],
    second: NDArray[np.float64],
    theirs: list[NDArray[np.int64]],
) -> NDArray[np.float64]:
    """No point of block i is nearer to one of block j than this (blocks, blocks)."""
    low, high = _extent(first, ours)
    low_2, high_2 = _extent(second, theirs)
    apart = np.maximum(low[:, None] - high_2[None], low_2[None] - high[:, None])
    return np.linalg.norm(np.maximum(apart, 0.0), axis=-1)


def _extent(
    points: NDArray[np.float64], blocks: list[NDArray[np.int64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.stack([points[rows].min(axis=0) for rows in blocks]),
        np.stack([points[rows].max(axis=0) for rows in blocks]),
    )
