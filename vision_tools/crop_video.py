"""The crop_video tool: a part of the picture over a stretch of time."""

from __future__ import annotations

import math

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Size, Span
from vtool.needs import Package
from vtool.tool import Observation, Way, tool
from vtool.transform import Affine
from vtool.video.budget import (
    LOOK,
    Look,
    check_count,
    clamp,
    length,
    middles,
    read_clip,
    seconds,
    told,
)
from vtool.video.cache import Cut
from vtool.video.source import Video

COUNT = 8
MIN_SIDE = 8
"""Parts of fewer pixels of the video show nothing."""


@tool(version="1", seconds=60.0, needs=(Package("av", "video"),))
def crop_video(
    video: Video,
    span: Span,
    box: Box,
    count: int | None = None,
    settings: Look = LOOK,
) -> Observation:
    """Look closer at a part of the picture over a stretch of a video.

    Args:
        video: Video to look into.
        span: Stretch to look at.
        box: Part of the picture to look at.
        count: Number of frames, evenly spread.
        settings: Frames and pixels of a result.
    """
    number = min(COUNT, settings.max_frames) if count is None else count
    check_count(number, settings.max_frames)
    check_side(box, video.size)
    used, cut_off = clamp(span, length(video))
    size = settings.size(video.size, number, share=(box.x2 - box.x1) * (box.y2 - box.y1))
    cut, whole = pixels_of(box, size)
    clip = read_clip(video, middles(used, number), size, cut=cut)
    notes = [f"the video ends at {seconds(used.end_s)} s"] if cut_off else []
    return Observation(
        values=(clip,),
        text=told(clip, number, notes),
        effective=(used,) if cut_off else (),
        ways=((Way(video, Affine.crop(whole)),),),
    )


def check_side(box: Box, size: Size) -> None:
    """Refuse parts too small to show anything.

    Raises:
        ModelFault: `too_small`.
    """
    width, height = (box.x2 - box.x1) * size[0], (box.y2 - box.y1) * size[1]
    if min(width, height) < MIN_SIDE:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"the part is {width:.0f}x{height:.0f} pixels of the video, at least {MIN_SIDE} on "
            "each side",
            field="box",
        )


def pixels_of(box: Box, size: Size) -> tuple[Cut, Box]:
    """Whole pixels around a box, and the box that they are."""
    (w, h), e = size, 1e-6
    x0, y0 = math.floor(box.x1 * w + e), math.floor(box.y1 * h + e)
    x1, y1 = max(math.ceil(box.x2 * w - e), x0 + 1), max(math.ceil(box.y2 * h - e), y0 + 1)
    return (x0, y0, x1, y1), Box(x0 / w, y0 / h, x1 / w, y1 / h)
