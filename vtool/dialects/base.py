"""What a dialect promises: how calls, answers, pictures and observations are written.

A dialect works on text and pieces; it knows no token ids (the renderer does) and no pixels.
It declares, for every raw number, units, order and picture; nothing is guessed from values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from vtool.geometry import Convention, Size
from vtool.message import Action, Message, Show, Text
from vtool.store import Store
from vtool.toolspec import ToolSpec


@dataclass(frozen=True, slots=True)
class Control:
    """Template text, in which control tokens are recognised as such."""

    text: str


Piece: TypeAlias = Control | Text | Show
"""`Control` is written by the template, `Text` is ordinary words whatever they spell, `Show` is
a picture or clip that becomes placeholder tokens."""

ShownSize: TypeAlias = Callable[[str], Size | None]
"""Size of the latest showing of a picture, by handle."""


class TurnStyle(StrEnum):
    """Where a tool's output goes."""

    USER = "user"
    """Into a user turn of its own; the assistant then begins a new turn."""
    INLINE = "inline"
    """Into the assistant's turn, which goes on after it."""


class Dialect(Protocol):
    """The wire syntax of one kind of checkpoint."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def style(self) -> TurnStyle:
        """Where a tool's output goes."""
        ...

    @property
    def coordinates(self) -> Convention:
        """How boxes and points are written in calls and observations."""
        ...

    @property
    def max_parallel(self) -> int:
        """Calls per turn beyond which the rest are answered `too_many_calls`."""
        ...

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts after which a turn is over although the model did not end it.

        Such as a closing call tag, where output is inline. End-of-turn tokens are the family's.
        """
        ...

    @property
    def controls(self) -> tuple[str, ...]:
        """Texts that are single control tokens in the families it is paired with."""
        ...

    def system(self, specs: Sequence[ToolSpec]) -> str | None:
        """The system prompt that announces the tools, or None for none."""
        ...

    def announce(self, specs: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        """The same in pieces: what tools say of themselves is ordinary text."""
        ...

    def parse(self, text: str, *, finished: bool = True) -> Action:
        """Read a turn. Total: any text gives an action; faults are data.

        Args:
            text: The turn as written, end-of-turn token removed.
            finished: False where the length limit cut it off.
        """
        ...

    def write(self, action: Action) -> tuple[Piece, ...]:
        """Write a turn so that `parse` reads it back equal (spans and exact text aside).

        Raises:
            RecordError: No turn of this dialect says this.
        """
        ...

    def split(self, text: str) -> tuple[Piece, ...]:
        """A turn as written, with the dialect's own tags as `Control`."""
        ...

    def observe(
        self, replies: Sequence[Message], store: Store, shown: ShownSize | None = None
    ) -> tuple[Piece, ...]:
        """Wrap tool messages, one a call in call order, as the model expects them.

        Args:
            replies: Tool messages.
            store: Holds what they show.
            shown: Sizes at which pictures were last shown, for conventions that count them.
        """
        ...

    def picture_name(self, handle: str, store: Store) -> str | int:
        """How a call names this picture."""
        ...

    def picture(self, name: object, store: Store) -> str:
        """Handle of the picture that a call names.

        Raises:
            ModelFault: `unknown_image`, with the names that exist.
        """
        ...
