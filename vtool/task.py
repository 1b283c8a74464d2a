"""Tasks: a prompt with media, a reference, and the evidence that a good look would cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from vtool.geometry import Box, Point, Shape, Span
from vtool.media import Clip, Image
from vtool.message import Json
from vtool.track import Track
from vtool.video.source import Video

TaskPart: TypeAlias = str | Image | Clip | Video


@dataclass(frozen=True, slots=True)
class Answer:
    """Accepted answers, any of which is right."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes to be found in one picture of the prompt (0-based)."""

    boxes: tuple[Box, ...]
    image: int = 0


@dataclass(frozen=True, slots=True)
class Points:
    """Points to be named in one picture of the prompt (0-based)."""

    points: tuple[Point, ...]
    image: int = 0


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of time to be found in one clip of the prompt (0-based)."""

    spans: tuple[Span, ...]
    clip: int = 0


@dataclass(frozen=True, slots=True)
class Grounded:
    """Words and the stretches of time that show them, both in one answer."""

    answer: Answer
    spans: Spans


@dataclass(frozen=True, slots=True)
class Tracks:
    """A thing to be followed through one clip of the prompt (0-based)."""

    track: Track
    clip: int = 0


Reference: TypeAlias = Answer | Boxes | Points | Spans | Grounded | Tracks


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the answer can be seen: a shape on one picture of the prompt (0-based).

    A `Span` is a stretch of one of the prompt's videos, counted by themselves.
    """

    image: int
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question.

    `evidence` lists the places that hold the answer, outermost first; the last one is the
    target that a deciding look should cover.
    """

    id: str
    prompt: tuple[TaskPart, ...]
    reference: Reference
    evidence: tuple[Evidence, ...] = ()
    tools: tuple[str, ...] | None = None
    """Tools this task may use; None means all that the run offers."""
    system: str | None = None
    tags: Mapping[str, Json] = field(default_factory=dict)

    @property
    def media(self) -> tuple[Image | Clip | Video, ...]:
        """Pictures, clips and videos of the prompt, in order."""
        return tuple(p for p in self.prompt if not isinstance(p, str))
