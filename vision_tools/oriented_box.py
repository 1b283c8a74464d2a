"""The oriented_box tool: the smallest box around a cloud."""

from __future__ import annotations

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.store import Cloud, Table
from vtool.tool import Observation, tool

from .backends.minimal_box import around
from .backends.wording import metres, sizes, vector


@tool(seconds=60)
def oriented_box(cloud: Cloud) -> Observation:
    """Find the smallest box around a cloud, turned as it must be: its size, centre and axes.

    Args:
        cloud: Points to put into a box.
    """
    points = cloud.points[np.isfinite(cloud.points).all(axis=1)].astype(np.float64)
    if not len(points):
        raise ModelFault(FaultCode.BAD_ARGS, "the cloud holds no points", field="cloud")
    box = around(points)
    row = {
        "size_m": box.size.round(6).tolist(),
        "centre_m": box.centre.round(6).tolist(),
        "axes": box.axes.round(6).tolist(),
    }
    axes = ", ".join(vector(a) for a in box.axes)
    text = (
        f"Box of {sizes(box.size)}, {metres(float(np.linalg.norm(box.centre)))} from the camera to "
        f"its centre {vector(box.centre)}; axes {axes} (x right, y down, z forward, longest edge "
        "first). It holds what was seen: hidden sides do not count."
    )
    return Observation((Table((row,)),), text)
