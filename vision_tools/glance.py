"""The glance tool: a quick look over a whole video."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.geometry import Span
from vtool.needs import Package
from vtool.tool import Observation, Way, tool
from vtool.video.budget import Look, check_count, length, middles, read_clip, told
from vtool.video.errors import VideoError
from vtool.video.source import Mode, Video


@dataclass(frozen=True)
class Glance(Look):
    """See `Look`.

    Args:
        count: Frames of a glance.
        exact_frames: Videos of at most so many frames are decoded through for exact frames;
            of longer ones keyframes are shown.
    """

    count: int = 16
    exact_frames: int = 1500


@tool(version="1", seconds=60.0, needs=(Package("av", "video"),))
def glance(video: Video, settings: Glance = Glance()) -> Observation:
    """Look over a whole video: a few frames from start to end, with their times.

    Args:
        video: Video to look over.
        settings: Frames and pixels of a result.
    """
    check_count(settings.count, settings.max_frames)
    mode = choose_mode(video, settings)
    times = middles(Span(0.0, length(video)), settings.count)
    size = settings.size(video.size, len(times))
    clip = read_clip(video, times, size, mode=mode)
    notes = [video.describe()]
    if mode is Mode.KEYFRAME:
        notes.append("keyframes: the nearest that can be decoded alone")
    return Observation(values=(clip,), text=told(clip, len(times), notes), ways=((Way(video),),))


def choose_mode(video: Video, settings: Glance) -> Mode:
    """Exact frames where they are cheap, or where there are too few keyframes to choose from.

    Raises:
        ModelFault: `bad_video` or `timeout`.
    """
    try:
        whole = Span(0.0, length(video))
        enough = len(video.key_times(whole)) >= settings.count
        return Mode.KEYFRAME if enough and video.frames > settings.exact_frames else Mode.EXACT
    except VideoError as err:
        raise err.fault() from None
