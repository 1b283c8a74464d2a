"""How much of a video one look may cost: frames, pixels of a frame, pixels of all frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Size, Span
from vtool.media import Clip
from vtool.observation import Settings
from vtool.video.errors import VideoError
from vtool.video.source import Mode, Video

MAX_FPS = 240.0
SLACK_S = 0.005
"""A window that passes the end by less was rounded, not wrong."""


@dataclass(frozen=True)
class Look(Settings):
    """What people choose for tools that show frames.

    Args:
        max_frames: Frames of one result at most.
        frame_pixels: Pixels of one frame at most.
        total_pixels: Pixels of all frames of a result at most.
    """

    max_frames: int = 32
    frame_pixels: int = 200_704
    total_pixels: int = 3_211_264

    def size(self, native: Size, frames: int, share: float = 1.0) -> Size:
        """Width and height at which whole frames are decoded, never above their own.

        Args:
            native: Size of the video.
            frames: How many are shown.
            share: Share of a frame's area that is shown.
        """
        allowed = min(self.frame_pixels, self.total_pixels // max(1, frames)) / share
        scale = min(1.0, math.sqrt(allowed / (native[0] * native[1])))
        return (max(1, int(native[0] * scale)), max(1, int(native[1] * scale)))


LOOK = Look()


def length(video: Video) -> float:
    """Seconds of a video.

    Raises:
        ModelFault: `bad_video` or `timeout`.
    """
    try:
        return max(video.duration_s, 1e-6)
    except VideoError as err:
        raise err.fault() from None


def clamp(span: Span, duration_s: float) -> tuple[Span, bool]:
    """A window as far as the video goes, and whether that cut something off.

    Raises:
        ModelFault: `bad_window`, where nothing of it lies in the video.
    """
    if span.start_s >= duration_s:
        raise ModelFault(
            FaultCode.BAD_WINDOW,
            f"the window begins at {seconds(span.start_s)} s, the video ends at "
            f"{seconds(duration_s)} s",
            hint=f"windows lie in [0, {seconds(duration_s)}]",
            field="span",
        )
    if span.end_s <= duration_s:
        return span, False
    return Span(span.start_s, duration_s), span.end_s > duration_s + SLACK_S


def check_count(count: int, most: int, field: str = "count") -> None:
    """Refuse numbers of frames that no result may have.

    Raises:
        ModelFault: `bad_args`.
    """
    if not 1 <= count <= most:
        raise ModelFault(
            FaultCode.BAD_ARGS, f"{field!r} needs 1 to {most} frames, got {count}", field=field
        )


def check_rate(fps: float) -> None:
    """Refuse rates that no video has.

    Raises:
        ModelFault: `bad_args`.
    """
    if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"'fps' needs a number above 0 and at most {MAX_FPS:g}, got {fps:g}",
            field="fps",
        )


def middles(span: Span, count: int) -> list[float]:
    """The middles of `count` equal parts of a window."""
    part = (span.end_s - span.start_s) / count
    return [span.start_s + (i + 0.5) * part for i in range(count)]


def read_clip(
    video: Video,
    times_s: Sequence[float],
    size: Size,
    *,
    cut: tuple[int, int, int, int] | None = None,
    mode: Mode = Mode.EXACT,
) -> Clip:
    """Frames; what is wrong with the file becomes an observation, so that the run goes on.

    Raises:
        ModelFault: `bad_video` or `timeout`.
    """
    try:
        # A time that was told, to the millisecond, and is asked for again is the same frame.
        asked = [t + 0.0005 for t in times_s] if mode is Mode.EXACT else times_s
        return video.clip(asked, size=size, cut=cut, mode=mode)
    except VideoError as err:
        raise err.fault() from None


def told(clip: Clip, asked: int, notes: Sequence[str] = ()) -> str:
    """Count, true times, and whatever else must be known of a clip, in one line."""
    count = len(clip.frames)
    few = f" (asked for {asked}: there are no more different ones)" if count < asked else ""
    noun = "frame" if count == 1 else "frames"
    times = ", ".join(seconds(t) for t in clip.times_s)
    return "; ".join([f"{count} {noun}{few} at {times} s", *notes])


def seconds(time_s: float) -> str:
    """To the millisecond, without trailing zeros beyond the first."""
    text = f"{time_s:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
