"""Clouds as files, for people and other programs: PLY in their own axes, GLB for viewers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import MediaError
from vtool.store import Cloud

FLOAT, BYTE = 5126, 5121
"""Numbers by which glTF calls component types."""


def write_ply(cloud: Cloud, path: Path | str) -> None:
    """Write a binary PLY file, little-endian, in the cloud's own axes (y down, z forward)."""
    head = (
        "ply\nformat binary_little_endian 1.0\ncomment metres, x right, y down, z forward\n"
        f"element vertex {len(cloud.points)}\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    Path(path).write_bytes(head.encode("ascii") + cloud.points.astype("<f4").tobytes())


def write_glb(cloud: Cloud, path: Path | str, colors: NDArray[np.uint8] | None = None) -> None:
    """Write a binary glTF file of points; y is turned up and z back, as that format has them.

    Args:
        cloud: At least one point, all finite.
        path: The file.
        colors: RGB of each point, uint8 (N, 3).

    Raises:
        MediaError: What the format has no room for.

    Source: Khronos, glTF 2.0, sections 3.4 (axes), 3.6 (accessors), 3.7.2.1 (colours) and 4.4
    (binary layout).
    """
    points = cloud.points * np.array([1, -1, -1], np.float32)
    if not len(points) or not np.isfinite(points).all():
        raise MediaError("a GLB file needs at least one point, and finite ones only")
    if colors is not None and colors.shape != points.shape:
        raise MediaError(f"colours need shape {points.shape}, got {colors.shape}")
    parts = [points.astype("<f4").tobytes()]
    if colors is not None:
        solid = np.full((len(colors), 1), 255, np.uint8)
        parts.append(np.concatenate([colors, solid], axis=1).tobytes())
    body = b"".join(parts)
    text = json.dumps(_gltf(points, parts), separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(body), 0x004E4942) + body
    head = struct.pack("<III", 0x46546C67, 2, 12 + len(chunks))
    Path(path).write_bytes(head + chunks)


def _gltf(points: NDArray[np.float32], parts: list[bytes]) -> dict[str, Any]:
    position = {
        "bufferView": 0,
        "componentType": FLOAT,
        "count": len(points),
        "type": "VEC3",
        "min": [float(v) for v in points.min(axis=0)],
        "max": [float(v) for v in points.max(axis=0)],
    }
    accessors, names = [position], {"POSITION": 0}
    if len(parts) > 1:
        color = {"bufferView": 1, "componentType": BYTE, "normalized": True, "type": "VEC4"}
        accessors.append({**color, "count": len(points)})
        names["COLOR_0"] = 1
    starts = np.cumsum([0, *(len(p) for p in parts)])
    views = [
        {"buffer": 0, "byteOffset": int(at), "byteLength": len(p), "target": 34962}
        for at, p in zip(starts, parts, strict=False)
    ]
    return {
        "asset": {"version": "2.0", "generator": "vtool"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": names, "mode": 0}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": int(starts[-1])}],
    }
