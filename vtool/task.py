"""Tasks: a prompt with media, a reference, and the evidence that a good look would cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from vtool.errors import DataError
from vtool.geometry import Box, Mask, Point, Shape, Span
from vtool.media import Clip, Image
from vtool.message import Json, ToolCall
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
class Masks:
    """Parts to be outlined in one picture of the prompt (0-based)."""

    masks: tuple[Mask, ...]
    image: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Multiple choice: what is offered as A, B, C and so on, and which one is right (0-based)."""

    options: tuple[str, ...]
    correct: int

    def __post_init__(self) -> None:
        if not 2 <= len(self.options) <= 26 or not 0 <= self.correct < len(self.options):
            raise DataError(
                f"expected 2 to 26 options and one of them as correct, got {len(self.options)} "
                f"and {self.correct}"
            )

    @property
    def letter(self) -> str:
        """The right letter."""
        return chr(ord("A") + self.correct)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Several things asked at once: each name with its accepted answers."""

    values: Mapping[str, tuple[str, ...]]


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


Reference: TypeAlias = (
    Answer | Boxes | Points | Spans | Masks | Choice | Attributes | Grounded | Tracks
)


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
    calls: tuple[ToolCall, ...] = ()
    """Calls that a good attempt makes, where they are known: tools and arguments under their own
    names, pictures by handle, places in unit coordinates."""
    tags: Mapping[str, Json] = field(default_factory=dict)

    @property
    def media(self) -> tuple[Image | Clip | Video, ...]:
        """Pictures, clips and videos of the prompt, in order."""
        return tuple(p for p in self.prompt if not isinstance(p, str))
