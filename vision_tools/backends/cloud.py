"""Depth maps as points in space, and points as files for people.

Tools never write files: for scripts there is `vtool.cloud_file`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import FaultCode, ModelFault, require
from vtool.geometry import Mask, Point
from vtool.store import Cloud, DepthMap

EDGE = 0.05
"""Neighbouring pixels whose depths differ by more than this share lie on two things."""


def check_metric(depth: DepthMap) -> Camera:
    """The camera of a depth map that can answer in metres: nothing is guessed.

    Raises:
        ModelFault: `unavailable`, where depth is relative or the camera unknown.
    """
    if not depth.metric:
        raise ModelFault(
            FaultCode.UNAVAILABLE,
            "expected a depth map in metres, got a relative one: it orders things by depth, but "
            "holds no distances",
            hint="compare depths instead, or make a metric map",
            field="depth",
        )
    if depth.camera is None:
        raise ModelFault(
            FaultCode.UNAVAILABLE,
            "this depth map comes without a focal length: places in it cannot be turned into "
            "points in space",
            hint="only depth along the view is known here",
            field="depth",
        )
    return depth.camera


def lift(depth: DepthMap, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Points of the pixels that have a depth, row by row.

    Args:
        depth: In metres, with a camera.
        among: Only these pixels (H, W).

    Returns:
        (N, 3) in metres: x right, y down, z forward.

    Raises:
        ModelFault: `unavailable`.
    """
    camera = check_metric(depth)
    chosen = depth.valid if among is None else depth.valid & among
    rows, columns = np.nonzero(chosen)
    z = depth.values[chosen].astype(np.float64)
    return camera.lift(columns.astype(np.float64), rows.astype(np.float64), z)


def lift_point(depth: DepthMap, point: Point, name: str) -> NDArray[np.float64]:
    """The point in space (3,) that a place of the map shows.

    Raises:
        ModelFault: `unavailable`, or `bad_args` where that pixel has no depth.
    """
    camera = check_metric(depth)
    height, width = depth.values.shape
    own = value_at(depth, point)
    if own is None:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"the depth map has no depth at {name!r}",
            hint="choose a place beside it, or a mask: pixels without depth are left out of masks",
            field=name,
        )
    x, y = point.x * width - 0.5, point.y * height - 0.5
    z = _between(depth, x, y, own)
    return camera.lift(np.array([x]), np.array([y]), np.array([z]))[0]


def value_at(depth: DepthMap, point: Point) -> float | None:
    """Depth of the pixel that holds a place, None where there is none."""
    height, width = depth.values.shape
    at = min(int(point.y * height), height - 1), min(int(point.x * width), width - 1)
    return float(depth.values[at]) if depth.valid[at] else None


def _between(depth: DepthMap, x: float, y: float, own: float) -> float:
    """Depth at a place between pixels, in pixels from the first one's centre.

    Inverse depth is interpolated, in which planes are straight; over an edge the place's own
    pixel counts alone.
    """
    height, width = depth.values.shape
    left, top = min(max(int(x), 0), width - 2), min(max(int(y), 0), height - 2)
    if min(height, width) < 2:
        return own
    four = depth.values[top : top + 2, left : left + 2].astype(np.float64)
    known = depth.valid[top : top + 2, left : left + 2]
    if not known.all() or np.abs(four / own - 1).max() > EDGE:
        return own
    across, down = np.array([left + 1 - x, x - left]), np.array([top + 1 - y, y - top])
    return float(1 / (down @ (1 / four) @ across))


def fit_mask(mask: Mask, depth: DepthMap, name: str) -> NDArray[np.bool_]:
    """A mask on the grid of a depth map, by the cell in which each pixel's centre lies.

    Raises:
        ModelFault: `bad_args`, where the mask holds no pixel of the map.
    """
    (height, width), (rows, columns) = depth.values.shape, mask.cells.shape
    down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
    cells: NDArray[np.bool_] = mask.cells[down[:, None], across]
    if not cells.any():
        raise ModelFault(FaultCode.BAD_ARGS, f"the mask {name!r} is empty", field=name)
    return cells


def inliers(depth: DepthMap, among: NDArray[np.bool_], spread: float) -> NDArray[np.bool_]:
    """Pixels (H, W) of a part whose depth does not stray from the part's.

    Masks reach over edges: a few pixels of the background would make a cup as deep as a room.

    Args:
        depth: Any depth map.
        among: The part.
        spread: How many median absolute deviations from the median still belong to it.
    """
    chosen = depth.valid & among
    values = depth.values[chosen].astype(np.float64)
    if values.size == 0:
        return chosen
    off = np.abs(values - np.median(values))
    # Flat things seen straight on have no deviation at all: rounding must not empty them.
    limit = spread * max(float(np.median(off)), 1e-3 * abs(float(np.median(values))))
    kept = chosen.copy()
    kept[chosen] = off <= limit
    return kept


def to_open3d(cloud: Cloud) -> Any:
    """The cloud as an `open3d.geometry.PointCloud`, for everything that is not done here.

    Raises:
        MissingExtra: open3d is not installed.
    """
    o3d = require("open3d", "spatial")
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points.astype(np.float64)))
