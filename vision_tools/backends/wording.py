"""What the depth tools say of their results, in one form."""

from __future__ import annotations

import numpy as np

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
