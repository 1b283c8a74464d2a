"""The smallest box around points, turned as it must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DIRECTIONS = 1024
"""In how many directions the outermost points are looked for."""
_STARTS = 12
_FINEST = 1e-7
"""Turns below this many radians are not tried any more."""
_PICKED = 2048


@dataclass(frozen=True, slots=True, eq=False)
class OrientedBox:
    """A box in space.

    Args:
        centre: (3,) in metres.
        axes: (3, 3), a unit vector a row, along the longest edge first; right-handed.
        size: Edge lengths (3,) in metres, longest first.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    size: NDArray[np.float64]

    @property
    def volume(self) -> float:
        """In cubic metres."""
        return float(self.size.prod())


def around(points: NDArray[np.float64]) -> OrientedBox:
    """The box of least volume, found by turning: coarse over all rotations, then ever finer.

    Flat and straight sets get a box without thickness, the smallest in area or length.

    Args:
        points: (N, 3), at least one.
    """
    middle = points.mean(axis=0)
    scale = float(np.abs(points - middle).max()) or 1.0
    outer = _outermost((points - middle) / scale)
    starts = np.concatenate([_principal(outer)[None], _rotations()])
    costs = _cost(outer, starts)
    best = [_refine(outer, starts[i]) for i in np.argsort(costs, kind="stable")[:_STARTS]]
    axes = min(best, key=lambda r: float(_cost(outer, r[None])[0]))
    return _box(points, axes)


def _cost(points: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Volume of the boxes along some axes (B, 3, 3); flat ones are told apart by their area."""
    along = np.einsum("bij,nj->bin", axes, points)
    size = along.max(axis=-1) - along.min(axis=-1)
    x, y, z = np.moveaxis(size, -1, 0)
    return x * y * z + 1e-3 * (x * y + y * z + z * x) + 1e-6 * (x + y + z)


def _refine(points: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Small turns about 13 axes and back, halved whenever none of them helps."""
    cost = float(_cost(points, axes[None])[0])
    step = 0.15
    while step > _FINEST:
        tried = _turns(step) @ axes
        costs = _cost(points, tried)
        best = int(np.argmin(costs))
        if costs[best] < cost:
            axes, cost = tried[best], float(costs[best])
        else:
            step /= 2
    return axes


def _turns(angle: float) -> NDArray[np.float64]:
    """Rotations by an angle about the 26 directions to the neighbours in a grid (26, 3, 3)."""
    grid = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    axis = grid[np.any(grid != 0, axis=1)]
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    half = np.full((len(axis), 1), np.cos(angle / 2))
    return _matrices(np.concatenate([half, np.sin(angle / 2) * axis], axis=1))


def _rotations() -> NDArray[np.float64]:
    """Rotations spread over all there are, the same every time (`_PICKED`, 3, 3).

    Source: Shoemake, Uniform random rotations, 1992, on a Kronecker sequence.
    """
    # Powers of the root of x^4 = x + 1 fill the cube evenly.
    steps = (1 / 1.2207440846057596) ** np.arange(1, 4)
    u, v, w = ((np.arange(_PICKED)[:, None] * steps + 0.5) % 1.0).T
    a, b = np.sqrt(1 - u), np.sqrt(u)
    s, t = 2 * np.pi * v, 2 * np.pi * w
    return _matrices(np.stack([a * np.sin(s), a * np.cos(s), b * np.sin(t), b * np.cos(t)], axis=1))


def _matrices(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (N, 4), real part first, as matrices (N, 3, 3)."""
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _principal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    _, axes = np.linalg.eigh(points.T @ points)
    return axes.T


def _outermost(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points that lie farthest out in some direction: a box of these holds nearly all.

    Source: directions by Fibonacci's spiral, Gonzalez, Measurement of areas on a sphere, 2010.
    """
    if len(points) <= _DIRECTIONS // 2:
        return points
    i = np.arange(_DIRECTIONS)
    z = 1 - (2 * i + 1) / _DIRECTIONS
    turn = np.pi * (3 - np.sqrt(5)) * i
    flat = np.sqrt(1 - z * z)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    # Single precision is enough to choose: the box itself is measured on all points.
    few, single = directions.astype(np.float32), points.astype(np.float32)
    found = [np.argmax(d @ single.T, axis=1) for d in np.array_split(few, 64)]
    return points[np.unique(np.concatenate(found))]


def _box(points: NDArray[np.float64], axes: NDArray[np.float64]) -> OrientedBox:
    along = points @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    order = np.argsort(low - high, kind="stable")
    axes = axes[order]
    centre = ((low + high) / 2)[order] @ axes
    # Signs are free: the long axes point right and down where they can, the last follows.
    axes = axes * np.where(axes[np.arange(3), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    axes[2] = np.cross(axes[0], axes[1])
    return OrientedBox(centre, axes, (high - low)[order])
