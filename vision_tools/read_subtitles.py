"""The read_subtitles tool: what is said in a stretch of a video, where a file tells."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.geometry import Span
from vtool.needs import Package
from vtool.tool import Observation, Settings, tool
from vtool.video.budget import clamp, length, seconds
from vtool.video.errors import VideoError
from vtool.video.source import Video
from vtool.video.subtitles import Cue, cues


@dataclass(frozen=True)
class Words(Settings):
    """What people choose.

    Args:
        max_chars: Characters of one answer at most.
    """

    max_chars: int = 4000


# A file beside the video may change without the video: results are not shared.
@tool(version="1", pure=False, needs=(Package("av", "video"),))
def read_subtitles(
    video: Video,
    span: Span | None = None,
    settings: Words = Words(),
) -> Observation:
    """Read the subtitles of a stretch of a video, with their times.

    Args:
        video: Video to read.
        span: Stretch to read; all of it if left out.
        settings: How long an answer may be.
    """
    whole = length(video)
    used, cut_off = clamp(span or Span(0.0, whole), whole)
    try:
        all_cues = cues(video)
    except VideoError as err:
        raise err.fault() from None
    if not all_cues:
        return Observation(text="the video has no subtitles")
    inside = [c for c in all_cues if c.end_s > used.start_s and c.start_s < used.end_s]
    text = _written(inside, settings.max_chars) if inside else "nothing is said in this stretch"
    return Observation(text=text, effective=(used,) if cut_off else ())


def _written(said: list[Cue], most: int) -> str:
    lines = [f"[{seconds(c.start_s)}, {seconds(c.end_s)}] {c.text}" for c in said]
    kept: list[str] = []
    for i, line in enumerate(lines):
        if sum(map(len, kept)) + len(kept) + len(line) > most:
            return "\n".join([*kept, f"({len(lines) - i} more lines: ask for a shorter stretch)"])
        kept.append(line)
    return "\n".join(kept)
