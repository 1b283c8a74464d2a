"""The resample tool: look again at a stretch of a video, more densely."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Span
from vtool.needs import Package
from vtool.tool import Observation, Way, tool
from vtool.video.budget import (
    LOOK,
    Look,
    check_count,
    check_rate,
    clamp,
    length,
    middles,
    read_clip,
    seconds,
    told,
)
from vtool.video.source import Video

COUNT = 8
"""Frames where neither a rate nor a count is asked for."""


@tool(version="1", seconds=60.0, needs=(Package("av", "video"),))
def resample(
    video: Video,
    span: Span,
    fps: float | None = None,
    count: int | None = None,
    settings: Look = LOOK,
) -> Observation:
    """Look again at a stretch of a video, with new frames taken from it.

    Frames are those on the screen at evenly spaced times; their own times are told.

    Args:
        video: Video to look into.
        span: Stretch to look at.
        fps: Frames a second.
        count: Number of frames, instead of fps.
        settings: Frames and pixels of a result.
    """
    used, cut_off = clamp(span, length(video))
    notes = [f"the video ends at {seconds(used.end_s)} s"] if cut_off else []
    times = _times(used, fps, count, settings.max_frames, notes)
    size = settings.size(video.size, len(times))
    clip = read_clip(video, times, size)
    return Observation(
        values=(clip,),
        text=told(clip, len(times), notes),
        effective=(used,) if cut_off else (),
        ways=((Way(video),),),
    )


def _times(
    span: Span, fps: float | None, count: int | None, most: int, notes: list[str]
) -> list[float]:
    if fps is not None and count is not None:
        raise ModelFault(
            FaultCode.BAD_ARGS, "expected 'fps' or 'count', got both", hint="leave one out"
        )
    if fps is None:
        number = min(COUNT, most) if count is None else count
        check_count(number, most)
        return middles(span, number)
    check_rate(fps)
    # A window of 2 s at 4 a second holds 8 frames: the one at its end belongs to the next.
    number = max(1, int((span.end_s - span.start_s) * fps - 1e-9) + 1)
    if number > most:
        notes.append(f"{number} frames at {fps:g} a second are too many: {most} were spread evenly")
        return middles(span, most)
    return [span.start_s + i / fps for i in range(number)]
