"""What the depth tools say of their results, in one form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtool.store import DepthMap

from .colormap import number


def depth_words(depth: DepthMap, kind: str) -> str:
    """Range, coverage and meaning of a depth map.

    Args:
        depth: With at least one known depth.
        kind: What its numbers mean, such as `in metres`.
    """
    known = depth.values[depth.valid].astype(np.float64)
    low, middle, high = (number(float(v)) for v in np.percentile(known, (0, 50, 100)))
    unit = " m" if depth.metric else ""
    return (
        f"Depth, {kind}; larger is farther. Nearest {low}{unit}, median {middle}{unit}, farthest "
        f"{high}{unit}; known for {depth.valid.mean():.1%} of the picture."
    )


def metres(value: float) -> str:
    """A length, to the millimetre below ten metres."""
    return f"{value:.3f} m" if abs(value) < 10 else f"{value:.2f} m"


def sizes(values: NDArray[np.float64]) -> str:
    """Edge lengths, longest first."""
    return " x ".join(f"{v:.3f}" for v in values) + " m"


def vector(values: NDArray[np.float64]) -> str:
    """Three numbers in space."""
    return "(" + ", ".join(f"{float(v) + 0.0:.3f}" for v in values) + ")"


def counted(used: int, asked: int) -> str:
    """How many pixels count, and how many were left out."""
    left = asked - used
    out = f"; {left} without depth or far off the rest left out" if left else ""
    return f"{used} of {asked} pixels used{out}."
