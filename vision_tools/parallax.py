"""The parallax tool: depth order from two frames of a moving camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.media import Image
from vtool.needs import Package
from vtool.store import DepthMap
from vtool.tool import Observation, Settings, Way, tool

from .backends.settings import positive
from .backends.stereo import motion, sideways
from .backends.wording import depth_words
from .stereo_depth import check_pair

LEAST_MOTION_PX = 1.0
"""Two frames whose median motion is below this show no parallax that could be measured."""
STRAIGHT = 0.9
"""Share of motion along one line below which the camera did not simply move sideways."""


@dataclass(frozen=True)
class ParallaxSettings(Settings):
    """How motion is followed."""

    tolerance_px: float = 1.0
    """How far the way there and back may miss its start."""

    def __post_init__(self) -> None:
        positive("parallax", self, "tolerance_px")


@tool(needs=(Package("cv2", "vision"),), seconds=120)
def parallax(
    first: Image, second: Image, settings: ParallaxSettings = ParallaxSettings()
) -> Observation:
    """Order a still scene by depth from two frames of a camera that moved sideways.

    Near things move more than far ones. The result is relative: 0 is the nearest, 1 the
    farthest, larger is farther; only the order holds.

    Args:
        first: Frame to which the depth map belongs.
        second: Another frame of the same size.
        settings: How motion is followed.
    """
    check_pair(first, second, "second")
    flow = motion(first, second, tolerance_px=settings.tolerance_px)
    along, straight = sideways(flow)
    known = np.isfinite(along)
    moved = float(np.median(np.abs(along[known]))) if known.any() else 0.0
    check_motion(moved)
    low, high = np.nanmin(along), np.nanmax(along)
    far = (high - along) / (high - low) if high > low else along * 0
    depth = DepthMap(far.astype(np.float32))
    text = depth_words(depth, "relative: only the order holds, 0 nearest, 1 farthest")
    if straight < STRAIGHT:
        text += (
            f" Doubtful: only {straight:.0%} of the motion lies along one line, so the camera "
            "turned or moved forward, or things moved."
        )
    return Observation((depth,), text, ways=((Way(first),),))


def check_motion(moved_px: float) -> None:
    """Refuse frames between which nothing moved.

    Raises:
        ModelFault: `bad_args`.
    """
    if moved_px < LEAST_MOTION_PX:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected frames of a moving camera, but half of the picture moved less than "
            f"{LEAST_MOTION_PX:g} pixel",
            hint="take frames that lie farther apart, or another tool for depth",
        )
