"""The select_frames tool: single frames of a video, by time."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.needs import Package
from vtool.tool import Observation, Way, tool
from vtool.video.budget import LOOK, SLACK_S, Look, check_count, length, read_clip, seconds, told
from vtool.video.source import Video


@tool(version="1", seconds=60.0, needs=(Package("av", "video"),))
def select_frames(
    video: Video,
    times: list[float],
    settings: Look = LOOK,
) -> Observation:
    """Show the frames that are on the screen at some times of a video.

    Args:
        video: Video to look into.
        times: Times in seconds from the start.
        settings: Frames and pixels of a result.
    """
    check_count(len(times), settings.max_frames, "times")
    check_times(times, length(video))
    clip = read_clip(video, times, settings.size(video.size, len(set(times))))
    return Observation(values=(clip,), text=told(clip, len(times)), ways=((Way(video),),))


def check_times(times: list[float], duration_s: float) -> None:
    """Refuse times that are not in the video; what is rounded over its end counts as the end.

    Raises:
        ModelFault: `bad_window`.
    """
    outside = [t for t in times if not 0 <= t <= duration_s + SLACK_S]
    if outside:
        raise ModelFault(
            FaultCode.BAD_WINDOW,
            f"{seconds(outside[0])} s is not in the video",
            hint=f"times lie in [0, {seconds(duration_s)}]",
            field="times",
        )
