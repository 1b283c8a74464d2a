"""Two pictures of one scene: disparity of a rectified pair, and motion between two frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import require
from vtool.media import Image

_STEP = 16
"""OpenCV's matchers take disparities by the sixteen."""


def default_disparities(width: int) -> int:
    """How many disparities to try: an eighth of the width, in whole sixteens."""
    return _STEP * max(1, -(-width // (8 * _STEP)))


def disparity(
    left: Image, right: Image, *, disparities: int, block: int, tolerance_px: float
) -> NDArray[np.float32]:
    """How far left each pixel of the left picture has moved in the right one, in pixels.

    Semi-global matching from both sides; a pixel counts where the two answers agree.

    Args:
        left: Left picture of a rectified pair.
        right: Right picture, of the same size.
        disparities: Greatest disparity tried plus one; a multiple of 16.
        block: Side of the window compared, odd.
        tolerance_px: How far the two answers may differ.

    Returns:
        (H, W), NaN where nothing matched: pixel (y, x) lies at (y, x - d) in the right picture.

    Source: Hirschmueller, Stereo processing by semi-global matching and mutual information,
        2008 (left-right check: section 2.3), as in `cv2.StereoSGBM`, three-way mode.
    """
    cv2 = require("cv2", "vision")
    a, b = left.pixels, right.pixels
    forth = _match(cv2, a, b, disparities, block)
    back = _match(cv2, _mirrored(b), _mirrored(a), disparities, block)[:, ::-1]
    columns = np.arange(forth.shape[1])
    landing = np.rint(columns - np.nan_to_num(forth)).astype(np.int64)
    inside = landing >= 0
    returned = np.take_along_axis(back, np.where(inside, landing, 0), axis=1)
    with np.errstate(invalid="ignore"):
        agreed = inside & (np.abs(returned - forth) <= tolerance_px)
    return np.where(agreed, forth, np.float32(np.nan))


def _match(
    cv2: Any, a: NDArray[np.uint8], b: NDArray[np.uint8], disparities: int, block: int
) -> NDArray[np.float32]:
    """One-sided disparities, NaN where the matcher found none."""
    area = 3 * block * block
    matcher = cv2.StereoSGBM_create(
        minDisparity=0,
        numDisparities=disparities,
        blockSize=block,
        P1=8 * area,
        P2=32 * area,
        preFilterCap=31,
        uniquenessRatio=5,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # The matcher leaves out as many columns as it tries disparities: repeat the border for them.
    wide = [cv2.copyMakeBorder(p, 0, 0, disparities, 0, cv2.BORDER_REPLICATE) for p in (a, b)]
    raw = matcher.compute(*wide)[:, disparities:].astype(np.float32) / 16
    return np.where(raw >= 0, raw, np.float32(np.nan))


def _mirrored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, ::-1])


def motion(first: Image, second: Image, *, tolerance_px: float) -> NDArray[np.float32]:
    """Where each pixel of the first picture went, in pixels.

    Args:
        first: Earlier frame.
        second: Later frame, of the same size.
        tolerance_px: How far the way there and back may miss its start.

    Returns:
        (H, W, 2), columns and rows moved; NaN where the way back leads elsewhere.

    Source: Kroeger et al., Fast optical flow using dense inverse search, 2016, as in
        `cv2.DISOpticalFlow`.
    """
    cv2 = require("cv2", "vision")
    grey = [cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY) for p in (first, second)]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth = flow.calc(grey[0], grey[1], None)
    back = flow.calc(grey[1], grey[0], None)
    rows, columns = np.indices(grey[0].shape, dtype=np.float32)
    x, y = columns + forth[..., 0], rows + forth[..., 1]
    returned = cv2.remap(
        back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e6, 1e6)
    )
    astray = np.hypot(*np.moveaxis(forth + returned, -1, 0)) > tolerance_px
    forth[astray] = np.nan
    return forth


def sideways(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Motion along its main direction, and the share of motion that it explains.

    Where a camera moves sideways past a still scene, near things move most along one line.

    Args:
        flow: (H, W, 2), NaN where unknown.

    Returns:
        Pixels along the main direction (H, W), mostly positive, NaN where unknown; and the
        share of squared motion that lies along it, 0.5 to 1.
    """
    known = flow[np.isfinite(flow[..., 0])].astype(np.float64)
    if not known.size:
        return flow[..., 0], 0.5
    weights, axes = np.linalg.eigh(known.T @ known)
    axis = axes[:, 1]
    if np.median(known @ axis) < 0:
        axis = -axis
    total = float(weights.sum())
    return (flow @ axis).astype(np.float32), float(weights[1]) / total if total > 0 else 0.5
