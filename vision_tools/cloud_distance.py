"""The cloud_distance tool: how far apart two clouds lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, ModelFault
from vtool.store import Cloud
from vtool.tool import Observation, tool

from .backends.gap import closest
from .backends.wording import metres, vector


@tool(seconds=60)
def cloud_distance(first: Cloud, second: Cloud) -> Observation:
    """Measure how far apart two clouds lie: between their closest points and their middles.

    Args:
        first: One cloud.
        second: The other.
    """
    a, b = _finite(first, "first"), _finite(second, "second")
    gap = closest(a, b)
    apart = float(np.linalg.norm(np.median(a, axis=0) - np.median(b, axis=0)))
    return Observation(
        text=f"{metres(gap.distance)} between the closest points, {vector(a[gap.first])} and "
        f"{vector(b[gap.second])}; {metres(apart)} between the middles (medians) of the clouds."
    )


def _finite(cloud: Cloud, name: str) -> NDArray[np.float64]:
    points = cloud.points[np.isfinite(cloud.points).all(axis=1)].astype(np.float64)
    if not len(points):
        raise ModelFault(FaultCode.BAD_ARGS, f"the cloud {name!r} holds no points", field=name)
    return points
