"""Memory: when a context's history is replaced by a new prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vtool.message import Message, Role, Show, Text
from vtool.record import Context, Episode, Spawn


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
        opening = _opening(episode, context)
        first = [s for m in opening for s in m.shows]
        room = max(1, self.pictures - len(first))
        here = [s for m in context.messages() for s in m.shows]
        if len(here) <= len(first) + room:
            return None
        keep = here[-room:]
        seen = {s.handle for m in episode.path_messages() for s in m.shows}
        away = len(seen - {s.handle for s in (*first, *keep)})
        told = Text(f"\n({away} earlier views were put away.)\n")
        last = opening[-1]
        parts = (*last.parts, told, *(Show(s.handle, s.max_pixels) for s in keep))
        folded = Message(role=last.role, parts=parts, author=last.author)
        return [*opening[:-1], folded]


def _opening(episode: Episode, context: Context) -> list[Message]:
    """The task as it was first put: what stood before the first assistant turn of all."""
    while context.edge is not None and not isinstance(context.edge, Spawn):
        context = episode.contexts[context.edge.parent]
    opening: list[Message] = []
    for message in context.messages():
        if message.role is Role.ASSISTANT:
            break
        opening.append(message)
    return opening
