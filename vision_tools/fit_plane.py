"""The fit_plane tool: the floor, wall or table top of a cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.store import Cloud
from vtool.tool import Observation, Settings, tool

from .backends.plane import Plane, fit
from .backends.settings import positive
from .backends.wording import metres, vector


@dataclass(frozen=True)
class PlaneSettings(Settings):
    """How a plane is looked for."""

    within_m: float = 0.02
    """How far a point of the plane may lie from it."""
    tries: int = 500
    """How many planes through three points are tried."""
    seed: int = 0
    """Of these choices."""

    def __post_init__(self) -> None:
        positive("fit_plane", self, "within_m", "tries")


@tool(seconds=60)
def fit_plane(cloud: Cloud, settings: PlaneSettings = PlaneSettings()) -> Observation:
    """Find the plane that holds most points of a cloud, such as a floor, a wall or a table.

    Gives the points in the plane and, if there are any, the other points as two clouds.

    Args:
        cloud: Points to look among.
        settings: How a plane is looked for.
    """
    points = cloud.points.astype(np.float64)
    known = np.isfinite(points).all(axis=1)
    plane = fit(points[known], within=settings.within_m, tries=settings.tries, seed=settings.seed)
    if plane is None:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected at least three points that do not lie on a line, got {int(known.sum())}",
            field="cloud",
        )
    parts = [cloud.points[known][plane.inside], cloud.points[known][~plane.inside]]
    return Observation(tuple(Cloud(p) for p in parts if len(p)), words(plane))


def words(plane: Plane) -> str:
    """Where a plane lies, how it is turned and how many points it holds."""
    share = plane.inside.mean()
    turned = math.degrees(math.acos(min(1.0, abs(float(plane.normal[1])))))
    return (
        f"Plane n·p = {plane.offset:.4f} m with n = {vector(plane.normal)} (x right, y down, z "
        f"forward; n points to the camera's side). It holds {share:.1%} of {len(plane.inside)} "
        f"points, {metres(plane.rms)} off on average (root mean square). The camera is "
        f"{metres(-plane.offset)} away from it; it is turned {turned:.1f} degrees from the "
        "camera's level (0 a floor, 90 a wall). First cloud: the points in it; second: the others."
    )
