"""What a dialect promises: how calls, answers, pictures and observations are written.

A dialect works on text and pieces; it knows no token ids (the renderer does) and no pixels.
It declares, for every raw number, units, order and picture; nothing is guessed from values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from vtool.geometry import Convention
from vtool.message import Action, Message, Show, Text
from vtool.store import Store
from vtool.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class Control:
    """Template text, in which control tokens are recognised as such."""

    text: str


Piece: TypeAlias = Control | Text | Show
"""`Control` is written by the template, `Text` is ordinary words whatever they spell, `Show` is
a picture or clip that becomes placeholder tokens."""


class TurnStyle(StrEnum):
    """Where a tool's output goes."""

    USER = "user"
    """Into a user turn of its own; the assistant then begins a new turn."""
    INLINE = "inline"
    """Into the assistant's turn, which goes on after it."""


class Dialect(Protocol):
    """The wire syntax of one kind of checkpoint."""

    name: str
    style: TurnStyle
    coordinates: Convention
    """How boxes and points are written in calls and observations."""
    max_parallel: int
    """Calls per turn beyond which the rest are answered `too_many_calls`."""
    stops: tuple[str, ...]
    """Texts after which a turn is over although the model did not end it (a closing call tag,
    where output is inline). End-of-turn tokens are the family's."""
    controls: tuple[str, ...]
    """Texts that are single control tokens in the families it is paired with."""

    def system(self, specs: Sequence[ToolSpec]) -> str | None:
        """The system prompt that announces the tools, or None for none."""
        ...

    def parse(self, text: str, *, finished: bool = True) -> Action:
        """Read a turn. Total: any text gives an action; faults are data.

        Args:
            text: The turn as written, end-of-turn token removed.
            finished: False where the length limit cut it off.
        """
        ...

    def write(self, action: Action) -> tuple[Piece, ...]:
        """Write a turn so that `parse` reads it back equal (spans aside)."""
        ...

    def observe(self, replies: Sequence[Message], store: Store) -> tuple[Piece, ...]:
        """Wrap tool messages, one a call in call order, as the model expects them."""
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
