"""The distance tool: metres between two places, or from the camera to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask, Point
from vtool.store import DepthMap
from vtool.tool import Finding, Observation, Settings, tool

from .backends.cloud import fit_mask, inliers, lift, lift_point
from .backends.gap import closest
from .backends.settings import positive
from .backends.wording import counted, metres
from .point_cloud import check_points


@dataclass(frozen=True)
class DistanceSettings(Settings):
    """What counts as belonging to a mask."""

    spread: float = 6.0
    """Median absolute deviations from a mask's median depth beyond which pixels are left out."""

    def __post_init__(self) -> None:
        positive("distance", self, "spread")


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """One end of what is measured."""

    shape: Point | Mask
    points: NDArray[np.float64]
    told: str
    """How many pixels of a mask count; empty for points."""


@tool(seconds=60)
def distance(
    depth: DepthMap,
    first: Point | None = None,
    second: Point | None = None,
    first_mask: Mask | None = None,
    second_mask: Mask | None = None,
    settings: DistanceSettings = DistanceSettings(),
) -> Observation:
    """Measure metres in space between two places, or from the camera to one place.

    Each place is a point on the depth map or a mask; between masks the closest points count.
    Needs a depth map in metres.

    Args:
        depth: Depth map in metres.
        first: One place, as a point.
        second: The other place, as a point; without it the camera.
        first_mask: One place, as a mask.
        second_mask: The other place, as a mask.
        settings: What counts as belonging to a mask.
    """
    a = _place(depth, first, first_mask, "first", settings)
    b = _place(depth, second, second_mask, "second", settings)
    ends = [p for p in (a, b) if p is not None]
    if not ends:
        raise ModelFault(
            FaultCode.BAD_ARGS, "expected a point or a mask to measure to, got neither"
        )
    found = tuple(_finding(p) for p in ends)
    told = "".join(f" {p.told}" for p in ends if p.told)
    if len(ends) == 1:
        away = from_camera(ends[0])
        return Observation(text=f"{metres(away)} from the camera.{told}", found=found)
    gap = closest(ends[0].points, ends[1].points)
    text = f"{metres(gap.distance)} apart."
    if len(ends[0].points) > 1 or len(ends[1].points) > 1:
        middles = [np.median(p.points, axis=0) for p in ends]
        far = float(np.linalg.norm(middles[0] - middles[1]))
        text = (
            f"{metres(gap.distance)} between the closest points, {metres(far)} between the middles."
        )
    return Observation(text=text + told, found=found)


def _place(
    depth: DepthMap,
    point: Point | None,
    mask: Mask | None,
    name: str,
    settings: DistanceSettings,
) -> _Place | None:
    if point is not None and mask is not None:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected a point or a mask as the {name} place, got both",
            field=f"{name}_mask",
        )
    if point is not None:
        return _Place(point, lift_point(depth, point, name)[None], "")
    if mask is None:
        return None
    cells = fit_mask(mask, depth, f"{name}_mask")
    kept = inliers(depth, cells, settings.spread)
    points = lift(depth, kept)
    check_points(len(points))
    return _Place(mask, points, counted(len(points), int(cells.sum())))


def from_camera(place: _Place) -> float:
    """Metres from the camera; of masks the median."""
    return float(np.median(np.linalg.norm(place.points, axis=1)))


def _finding(place: _Place) -> Finding:
    """Where it was measured, with its distance from the camera and its depth."""
    facts = {
        "from_camera_m": round(from_camera(place), 4),
        "depth_m": round(float(np.median(place.points[:, 2])), 4),
    }
    return Finding(place.shape, facts=facts)
