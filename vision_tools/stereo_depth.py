"""The stereo_depth tool: depth from a rectified pair of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import FaultCode, ModelFault, RecipeError
from vtool.geometry import Size
from vtool.media import Image
from vtool.needs import Package
from vtool.store import DepthMap
from vtool.tool import Observation, Settings, Way, tool

from .backends.settings import positive
from .backends.stereo import default_disparities, disparity
from .backends.wording import depth_words

LEAST_SIDE = 16
MOST_WORK = 8_000_000_000
"""Pixels times disparities that are tried: some 40 seconds on one core."""
FEW_MATCHES = 0.3
"""Share of the picture below which a result is called doubtful (0.89 on a good indoor pair)."""


@dataclass(frozen=True)
class StereoSettings(Settings):
    """What is known of the two cameras, and how to match.

    Depth is in metres where `baseline_m` and `focal_px` are given, else it has no unit.
    """

    baseline_m: float | None = None
    """Distance between the two cameras in metres."""
    focal_px: float | None = None
    """Focal length of the rectified pictures in pixels."""
    cx_px: float | None = None
    """Column of the left camera's axis (first column 0); the middle where left out."""
    cy_px: float | None = None
    """Row of the left camera's axis."""
    doffs_px: float = 0.0
    """Column of the right camera's axis less that of the left one."""
    width_px: int | None = None
    """Width for which these numbers hold: a pair of another size gets no metres."""
    height_px: int | None = None
    """Height for which these numbers hold."""
    disparities: int = 0
    """Greatest disparity tried, a multiple of 16; 0 takes an eighth of the width."""
    block: int = 3
    """Side of the window compared, odd."""
    tolerance_px: float = 1.0
    """How far matching from the left and from the right may differ."""

    def __post_init__(self) -> None:
        names = ("baseline_m", "focal_px", "width_px", "height_px", "block", "tolerance_px")
        positive("stereo_depth", self, *names)
        if self.disparities % 16 or self.disparities < 0:
            raise RecipeError(
                f"stereo_depth.disparities needs a multiple of 16, got {self.disparities}"
            )
        if self.block % 2 == 0:
            raise RecipeError(f"stereo_depth.block needs an odd number, got {self.block}")


@tool(needs=(Package("cv2", "vision"),), seconds=120)
def stereo_depth(
    left: Image, right: Image, settings: StereoSettings = StereoSettings()
) -> Observation:
    """Measure depth from a rectified stereo pair; larger is farther.

    The depth map covers the left picture. Pixels without a sure match have no depth.

    Args:
        left: Picture of the left camera.
        right: Picture of the right camera, of the same size.
        settings: Of the cameras and of matching.
    """
    check_pair(left, right, "right")
    tried = settings.disparities or default_disparities(left.size[0])
    check_work(left, tried)
    shift = disparity(
        left, right, disparities=tried, block=settings.block, tolerance_px=settings.tolerance_px
    )
    depth = from_disparity(shift, settings)
    check_matched(depth)
    kind = (
        "in metres"
        if depth.metric
        else f"relative ({why_relative(settings, left.size)}): ratios hold, the unit is unknown"
    )
    text = depth_words(depth, kind)
    if depth.valid.mean() < FEW_MATCHES:
        text += " Doubtful: few pixels match, as when a pair is swapped or not rectified."
    return Observation((depth,), text, ways=((Way(left),),))


def from_disparity(shift: NDArray[np.float32], settings: StereoSettings) -> DepthMap:
    """Depth of the left picture's pixels.

    Args:
        shift: Disparity in pixels (H, W), NaN where unknown.
        settings: Of the cameras.

    Source: depth = focal * baseline / (disparity + doffs), Scharstein et al., High-resolution
        stereo datasets with subpixel-accurate ground truth, 2014 (calibration of the data set).
    """
    size = (shift.shape[1], shift.shape[0])
    metric = not why_relative(settings, size)
    reach = (settings.focal_px or 1.0) * (settings.baseline_m or 1.0) if metric else 1.0
    angle = shift.astype(np.float64) + settings.doffs_px
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(angle > 0, reach / angle, np.nan).astype(np.float32)
    return DepthMap(values, metric, _camera(settings, size))


def why_relative(settings: StereoSettings, size: Size) -> str:
    """Why depth has no unit, or nothing where it is in metres."""
    if settings.baseline_m is None or settings.focal_px is None:
        return "baseline and focal length are not known"
    return "" if _holds(settings, size) else "the cameras are known for another picture size"


def check_pair(first: Image, second: Image, name: str) -> None:
    """Refuse pictures that cannot be compared pixel by pixel.

    Raises:
        ModelFault: `bad_args` or `too_small`.
    """
    if first.size != second.size:
        sizes = "{}x{} and {}x{}".format(*first.size, *second.size)
        raise ModelFault(
            FaultCode.BAD_ARGS, f"expected two pictures of one size, got {sizes}", field=name
        )
    if min(first.size) < LEAST_SIDE:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"expected pictures of at least {LEAST_SIDE} pixels a side, got {{}}x{{}}".format(
                *first.size
            ),
        )


def check_work(picture: Image, disparities: int) -> None:
    """Refuse pictures that would take minutes.

    Raises:
        ModelFault: `too_large`.
    """
    width, height = picture.size
    if width * height * disparities > MOST_WORK:
        raise ModelFault(
            FaultCode.TOO_LARGE,
            f"two pictures of {width}x{height} pixels are too large to be matched",
            hint="resize both alike, or cut the same rows and columns out of both",
        )


def check_matched(depth: DepthMap) -> None:
    """Refuse to call it depth where nothing matched.

    Raises:
        ModelFault: `bad_args`.
    """
    if not depth.valid.any():
        raise ModelFault(
            FaultCode.BAD_ARGS,
            "no pixel of the two pictures matches at a depth",
            hint="the pictures must show one scene, side by side and in this order",
        )


def _holds(settings: StereoSettings, size: Size) -> bool:
    return settings.width_px in (None, size[0]) and settings.height_px in (None, size[1])


def _camera(settings: StereoSettings, size: Size) -> Camera | None:
    if settings.focal_px is None or not _holds(settings, size):
        return None
    middle = Camera.centred(settings.focal_px, size)
    cx = middle.cx if settings.cx_px is None else settings.cx_px
    cy = middle.cy if settings.cy_px is None else settings.cy_px
    return Camera(settings.focal_px, settings.focal_px, cx, cy)
