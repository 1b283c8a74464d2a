"""The depth_at tool: how deep places lie, and which is nearest."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Point
from vtool.store import DepthMap
from vtool.tool import Finding, Observation, tool

from .backends.cloud import value_at
from .backends.colormap import number


@tool
def depth_at(depth: DepthMap, points: list[Point]) -> Observation:
    """Read a depth map at some points, nearest first; larger is farther.

    Works on relative maps too: these order places, and hold no distances.

    Args:
        depth: Depth map to read.
        points: Where to read it.
    """
    read = [(value_at(depth, p), p) for p in points]
    known = sorted(
        ((v, i, p) for i, (v, p) in enumerate(read) if v is not None), key=lambda row: row[:2]
    )
    if not known:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            "the depth map has no depth at these points",
            hint="choose places beside them",
            field="points",
        )
    name = "depth_m" if depth.metric else "relative_depth"
    found = tuple(
        Finding(p, label=f"point {i + 1}", facts={name: float(number(v))}) for v, i, p in known
    )
    left = len(points) - len(known)
    text = f"Nearest first, {'metres along the view' if depth.metric else 'without a unit'}."
    return Observation(
        text=text + (f" {left} of {len(points)} points have no depth." if left else ""), found=found
    )
