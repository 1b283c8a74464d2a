"""The plane in which most points lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LOOKED_AT = 4096
"""Points on which guesses are judged; the winner is fitted to all."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """n · p = offset, with the normal towards the camera.

    Args:
        normal: Unit vector (3,).
        offset: Metres; never positive, so that the camera lies on the normal's side.
        inside: Which points lie in the plane (N,).
        rms: Root mean square distance of these from it, in metres.
    """

    normal: NDArray[np.float64]
    offset: float
    inside: NDArray[np.bool_]
    rms: float


def fit(points: NDArray[np.float64], *, within: float, tries: int, seed: int) -> Plane | None:
    """The plane with most points near it, refined by least squares.

    Args:
        points: (N, 3) in metres.
        within: How far a point of the plane may lie from it, in metres.
        tries: How many planes through three points are tried.
        seed: Of these choices.

    Returns:
        None where no three points span a plane.

    Source: Fischler and Bolles, Random sample consensus, 1981.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    count = len(points)
    if count < 3:
        return None
    looked = points if count <= _LOOKED_AT else points[rng.choice(count, _LOOKED_AT, replace=False)]
    guess = _best(looked, within, tries, rng)
    if guess is None:
        return None
    for _ in range(3):
        near = np.abs(points @ guess[0] - guess[1]) <= within
        if near.sum() < 3:
            break
        guess = _least_squares(points[near])
    return _facing(points, *guess, within)


def _best(
    points: NDArray[np.float64], within: float, tries: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float] | None:
    corners = points[rng.integers(0, len(points), (tries, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    extent = float(np.ptp(points, axis=0).max())
    spans = lengths > 1e-9 * extent * extent
    if not spans.any():
        return None
    normals = normals[spans] / lengths[spans, None]
    offsets = np.einsum("ij,ij->i", normals, corners[spans, 0])
    votes = [
        int((np.abs(points @ n - d) <= within).sum()) for n, d in zip(normals, offsets, strict=True)
    ]
    best = int(np.argmax(votes))
    return normals[best], float(offsets[best])


def _least_squares(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The plane of least squared distance: the direction in which points spread least."""
    middle = points.mean(axis=0)
    _, axes = np.linalg.eigh((points - middle).T @ (points - middle))
    normal: NDArray[np.float64] = axes[:, 0]
    return normal, float(normal @ middle)


def _facing(
    points: NDArray[np.float64], normal: NDArray[np.float64], offset: float, within: float
) -> Plane:
    if offset > 0:
        normal, offset = -normal, -offset
    away = points @ normal - offset
    inside = np.abs(away) <= within
    rms = float(np.sqrt(np.mean(away[inside] ** 2))) if inside.any() else 0.0
    return Plane(normal, offset, inside, rms)
