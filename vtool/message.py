"""What policy and environment say to each other, before any wire syntax.

A message holds handles, never pixels: the episode's store owns those. Nothing here knows how
a model family writes roles, pictures or calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from vtool.errors import FaultCode
from vtool.geometry import Region

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class Role(StrEnum):
    """Who speaks, as chat templates know it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Author(StrEnum):
    """Whose words a segment holds; the loss mask follows from it."""

    POLICY = "policy"
    TEACHER = "teacher"
    USER = "user"
    TOOL = "tool"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Text:
    """Plain words; control tokens in them are ordinary text."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """A picture or clip of the store, to be laid before the model here."""

    handle: str
    max_pixels: int | None = None
    """An upper bound below the family's own, for budgets."""


Part: TypeAlias = Text | Show


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model wrote it: raw arguments, nothing checked."""

    name: str
    arguments: Mapping[str, Json]
    span: tuple[int, int] | None = None
    """Characters of the completion that hold the call, [start, end)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A model fault as data."""

    code: FaultCode
    message: str
    hint: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a final answer says beyond its words, as its dialect reads it.

    Read where the answer is given, since only there it is known how the model writes coordinates
    and at which size it saw a picture. Rewards and metrics read this, never the text.
    """

    regions: tuple[Region, ...] = ()
    """Places it names, in unit coordinates of the pictures it means."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    confidence: float | None = None
    """What the policy gives for being right, in [0, 1], where it says so."""
    fault: Fault | None = None
    """Why it does not say what was asked for; the rest is then empty."""


@dataclass(frozen=True, slots=True)
class Action:
    """What one assistant turn asks for. Malformed turns are actions with faults."""

    text: str
    """The whole turn as written."""
    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    faults: tuple[Fault, ...] = ()
    ignored: int = 0
    """Calls written inside a thinking block: not run, counted."""


@dataclass(frozen=True, slots=True)
class BoundCall:
    """A call whose arguments the Toolbox has read: handles and regions instead of raw numbers."""

    call: ToolCall
    tool: str
    """The tool's own name (the model may know it under another one)."""
    media: Mapping[str, str] = field(default_factory=dict)
    """Argument name -> store handle."""
    regions: Mapping[str, tuple[Region, ...]] = field(default_factory=dict)
    """Argument name -> regions, in unit coordinates of their picture."""
    values: Mapping[str, Json] = field(default_factory=dict)
    """The other arguments."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a tool found in a picture: a detection, a line of text, a measured thing."""

    region: Region
    label: str = ""
    score: float | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What else is known of it, told as it stands."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call, or of a turn in which no call could be read."""

    call: ToolCall | None = None
    bound: BoundCall | None = None
    handles: tuple[str, ...] = ()
    """Store entries it made."""
    fault: Fault | None = None
    seconds: float = 0.0
    cached: bool = False
    effective: tuple[Region, ...] = ()
    """The regions really used, after clamping and growing."""
    found: tuple[Found, ...] = ()
    """What it found; the dialect writes the places in its own coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a transcript."""

    role: Role
    parts: tuple[Part, ...] = ()
    author: Author
    action: Action | None = None
    """For assistant messages: what it asks for."""
    outcomes: tuple[Outcome, ...] = ()
    """For tool messages: what became of each call, in call order."""

    @property
    def text(self) -> str:
        """All words of the message."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def shows(self) -> tuple[Show, ...]:
        """All pictures and clips of the message."""
        return tuple(p for p in self.parts if isinstance(p, Show))
