"""Memory: when a context's history is replaced by a new prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vtool.message import Message, Role, Show, Text
from vtool.record import Context, Episode


class Memory(Protocol):
    """Decides, before each policy turn, whether to fold."""

    def view(self, episode: Episode, context: Context) -> Sequence[Message] | None:
        """None to go on appending, or the messages of a new prompt that replaces history."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Keep the task and the newest pictures once more than `pictures` have been shown.

    What fell out is told in one line, so that the policy knows that there was more.
    Source: the screenshot windows of ARPO for GUI agents (15 pictures kept).
    """

    pictures: int

    def view(self, episode: Episode, context: Context) -> Sequence[Message] | None:
        """Fold when the window is full."""
        messages = context.messages()
        shown = [s for m in messages for s in m.shows]
        if len(shown) <= self.pictures:
            return None
        opening = [m for m in messages if m.role in (Role.SYSTEM, Role.USER)]
        first = {s.handle for m in opening for s in m.shows}
        keep = [s for s in shown if s.handle not in first][-max(1, self.pictures - len(first)) :]
        last = opening[-1]
        told = Text(f"\n({len(shown) - len(first) - len(keep)} earlier views were put away.)\n")
        parts = (*last.parts, told, *(Show(s.handle, s.max_pixels) for s in keep))
        folded = Message(role=last.role, parts=parts, author=last.author)
        return [*opening[:-1], folded]
