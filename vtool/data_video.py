"""Rows about videos: which file, how it is glanced at, which spans are wanted or show the answer.

A row may name ``videos`` beside ``images``; ``<video>`` in the question says where each belongs::

    {"id": "m1", "videos": ["walk.mp4"], "glance": 8,
     "messages": [{"role": "user", "content": "<video>When does the dog appear?"}],
     "spans": [[12.4, 15.0]], "evidence": [{"video": 0, "span": [12.4, 15.0]}]}

``glance`` lays so many evenly spaced frames of each video before the model, with their times;
without it the model knows the video by name alone. ``spans`` is what a right answer names; with
``answer`` beside it, both are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtool.errors import DataError, GeometryError, ModelFault
from vtool.geometry import Span
from vtool.media import Clip
from vtool.task import Answer, Grounded, Reference, Spans, TaskPart
from vtool.video.budget import LOOK, SLACK_S, length, middles, read_clip
from vtool.video.errors import VideoError
from vtool.video.source import Video

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
"""What files of videos are called."""
GLANCE = 8
"""Frames of a first look, where nobody says how many."""
MAX_GLANCE = 128
"""Frames that a question may show of one video."""


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video of a question.

    Args:
        path: The file.
        glance: Frames of it that the question shows; 0 for none.
    """

    path: Path
    glance: int = 0


def video_parts(file: VideoFile, where: str) -> tuple[TaskPart, ...]:
    """What stands for a video in a prompt: its glance, itself, and a new line.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        video = Video.open(file.path)
        if not file.glance:
            return (video, "\n")
        return (glance(video, file.glance), video, "\n")
    except (VideoError, ModelFault) as err:
        raise DataError(f"{where}: {file.path.name}: {err}") from err


def glance(video: Video, count: int) -> Clip:
    """Evenly spaced frames of a whole video, no larger than a look into it shows them."""
    times = middles(Span(0.0, length(video)), count)
    return read_clip(video, times, LOOK.size(video.size, count))


def reference(answers: Sequence[str], spans: Sequence[Span]) -> Reference:
    """What a row wants: words, spans, or both."""
    words = Answer(tuple(answers))
    if not spans:
        return words
    return Grounded(words, Spans(tuple(spans))) if answers else Spans(tuple(spans))


def read_span(where: str, raw: Sequence[float]) -> Span:
    """Two numbers to a span.

    Raises:
        DataError: They are none.
    """
    try:
        start, end = raw
        return Span(float(start), float(end))
    except (GeometryError, ValueError) as err:
        raise DataError(f"{where}: span {list(raw)}: {err}") from err


def check_inside(where: str, span: Span, video: Video) -> None:
    """Refuse a span that leaves its video.

    Raises:
        DataError: It does.
    """
    if span.end_s > video.duration_s + SLACK_S:
        raise DataError(
            f"{where}: span [{span.start_s:g}, {span.end_s:g}] leaves the video, which ends at "
            f"{video.duration_s:g} s"
        )
