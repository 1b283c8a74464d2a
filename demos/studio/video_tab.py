"""Ask about a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from vtool.data_video import GLANCE, SUFFIXES, glance
from vtool.errors import DataError, ModelFault
from vtool.video.errors import VideoError
from vtool.video.source import Video

from ..markup import Html
from .ask_tab import AskTab, Given
from .panels import Asked, conversation, empty
from .session import Place
from .timeline import clips, plain_timeline, timeline
from .viewer import FIRST
from .world import outside


class VideoTab(AskTab):
    """The tab."""

    name = "video"
    tools = ("resample",)
    invitation = "Choose a video, or one of the examples: its timeline appears here."
    strip = "The frames that were looked at appear here, each look with its cost in tokens."

    def media_input(self) -> Any:
        """A video by file."""
        return gr.File(
            label="Video",
            file_types=list(SUFFIXES),
            type="filepath",
            height=176,
            scale=3,
            min_width=200,
            elem_id="vs-media-video",
        )

    def open(self, path: str | None) -> Given:
        """Open the video and glance at it."""
        if not path:
            raise DataError("expected a video: drop one here, or choose an example")
        try:
            video = Video.open(Path(path))
            clip = glance(video, GLANCE)
        except (VideoError, ModelFault) as err:
            raise DataError(f"this video cannot be read: {err}") from err
        return Given((clip, video, "\n"), plain_timeline(video, clip))

    def outside(self, model: str, question: str, given: Given) -> str | None:
        """Small policies know one kind of question."""
        return outside(model, question)

    def show(self, place: Place, *, live: bool = False) -> tuple[Html, Html, Html]:
        """The three panels."""
        path = place.path()
        if path is None or place.attempt is None:
            return empty(FIRST), empty(self.invitation), empty(self.strip)
        cast = place.attempt.cast
        chat = conversation(path, Asked(cast.name, cast.engine, live, place.call))
        return chat, timeline(path, place.call), clips(path, place.call)
