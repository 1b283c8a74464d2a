"""The object_size tool: how large a thing is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtool.geometry import Mask
from vtool.store import DepthMap
from vtool.tool import Finding, Observation, Settings, tool

from .backends.cloud import fit_mask, inliers, lift
from .backends.minimal_box import around
from .backends.settings import positive
from .backends.wording import counted, metres, sizes
from .point_cloud import check_points


@dataclass(frozen=True)
class SizeSettings(Settings):
    """What counts as belonging to a mask."""

    spread: float = 6.0
    """Median absolute deviations from a mask's median depth beyond which pixels are left out."""

    def __post_init__(self) -> None:
        positive("object_size", self, "spread")


@tool(seconds=60)
def object_size(
    depth: DepthMap, mask: Mask, settings: SizeSettings = SizeSettings()
) -> Observation:
    """Measure a masked thing in metres: the smallest box around its visible side.

    Also gives how far it reaches across and down the view. Needs a depth map in metres.

    Args:
        depth: Depth map in metres.
        mask: The thing.
        settings: What counts as belonging to the mask.
    """
    cells = fit_mask(mask, depth, "mask")
    points = lift(depth, inliers(depth, cells, settings.spread))
    check_points(len(points))
    box = around(points)
    across, down, deep = (float(v) for v in np.ptp(points, axis=0))
    away = float(np.median(np.linalg.norm(points, axis=1)))
    text = (
        f"{sizes(box.size)} as the smallest box around what is visible; {metres(across)} across "
        f"the view, {metres(down)} down and {metres(deep)} in depth; {metres(away)} from the "
        f"camera. {counted(len(points), int(cells.sum()))} Hidden sides do not count."
    )
    facts = {
        "size_m": box.size.round(4).tolist(),
        "across_m": round(across, 4),
        "down_m": round(down, 4),
        "deep_m": round(deep, 4),
        "from_camera_m": round(away, 4),
    }
    return Observation(text=text, found=(Finding(mask, facts=facts),))
