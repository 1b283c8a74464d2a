"""Depth maps as points in space, and points as files for people.

Tools never write files: `write_ply` and `write_glb` are for scripts, on values of an episode.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import FaultCode, MediaError, ModelFault, require
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


def write_ply(cloud: Cloud, path: Path | str) -> None:
    """Write a binary PLY file, little-endian, in the cloud's own axes (y down, z forward)."""
    head = (
        "ply\nformat binary_little_endian 1.0\ncomment metres, x right, y down, z forward\n"
        f"element vertex {len(cloud.points)}\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    Path(path).write_bytes(head.encode("ascii") + cloud.points.astype("<f4").tobytes())


def write_glb(cloud: Cloud, path: Path | str) -> None:
    """Write a binary glTF file of points; y is turned up and z back, as that format has them.

    Raises:
        MediaError: No points, or some that are not finite: the format has neither.

    Source: Khronos, glTF 2.0, sections 3.4 (axes), 3.6 (accessors) and 4.4 (binary layout).
    """
    points = cloud.points * np.array([1, -1, -1], np.float32)
    if not len(points) or not np.isfinite(points).all():
        raise MediaError("a GLB file needs at least one point, and finite ones only")
    body = points.astype("<f4").tobytes()
    text = json.dumps(_gltf(points, len(body)), separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(body), 0x004E4942) + body
    head = struct.pack("<III", 0x46546C67, 2, 12 + len(chunks))
    Path(path).write_bytes(head + chunks)


def _gltf(points: NDArray[np.float32], length: int) -> dict[str, Any]:
    accessor = {
        "bufferView": 0,
        "componentType": 5126,
        "count": len(points),
        "type": "VEC3",
        "min": [float(v) for v in points.min(axis=0)],
        "max": [float(v) for v in points.max(axis=0)],
    }
    return {
        "asset": {"version": "2.0", "generator": "vtool"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}],
        "accessors": [accessor],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": length, "target": 34962}],
        "buffers": [{"byteLength": length}],
    }


def to_open3d(cloud: Cloud) -> Any:
    """The cloud as an `open3d.geometry.PointCloud`, for everything that is not done here.

    Raises:
        MissingExtra: open3d is not installed.
    """
    o3d = require("open3d", "spatial")
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points.astype(np.float64)))
