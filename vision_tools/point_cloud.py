"""The point_cloud tool: a depth map, or a part of it, as points in space."""

from __future__ import annotations

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask
from vtool.store import Cloud, DepthMap
from vtool.tool import Observation, tool

from .backends.cloud import fit_mask, lift
from .backends.wording import counted, metres


@tool
def point_cloud(depth: DepthMap, mask: Mask | None = None) -> Observation:
    """Turn a depth map in metres into points in space: x right, y down, z forward.

    Pixels without depth are left out and counted.

    Args:
        depth: Depth map in metres.
        mask: Take only this part of it.
    """
    among = np.ones(depth.values.shape, bool) if mask is None else fit_mask(mask, depth, "mask")
    points = lift(depth, among)
    check_points(len(points))
    low, high = points.min(axis=0), points.max(axis=0)
    spans = ", ".join(
        f"{name} {metres(a)} to {metres(b)}" for name, a, b in zip("xyz", low, high, strict=True)
    )
    text = f"{counted(len(points), int(among.sum()))} Metres, x right, y down, z forward: {spans}."
    return Observation((Cloud(points.astype(np.float32)),), text)


def check_points(count: int) -> None:
    """Refuse a part without any depth.

    Raises:
        ModelFault: `bad_args`.
    """
    if not count:
        raise ModelFault(
            FaultCode.BAD_ARGS, "no pixel of this part has a depth", hint="choose a larger part"
        )
