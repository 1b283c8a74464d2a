"""What is said where an observation cannot be given as it is: smaller pictures, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vtool.errors import FaultCode, ModelFault
from vtool.message import Author, Fault, Message, Part, Role, Show, Text


def fits(tokens: int, room: int | None) -> bool:
    """Whether an observation fits into what is left of the context."""
    return room is None or tokens <= room


def no_room() -> ModelFault:
    """The fault of an observation that does not fit."""
    return ModelFault(
        FaultCode.NO_ROOM,
        "no room is left to show the result",
        hint="answer from what you have seen",
    )


def too_many(most: int) -> ModelFault:
    """The fault of a picture beyond those that a context may show."""
    return ModelFault(
        FaultCode.TOO_MANY_IMAGES,
        f"at most {most} pictures can be shown",
        hint="answer from what you have seen",
    )


def refused(fault: ModelFault, replies: Sequence[Message]) -> Message:
    """One tool message that stands for all replies, whose outcomes it keeps as refused."""
    told = Fault(fault.code, fault.message, fault.hint, fault.field)
    outcomes = tuple(o if o.fault else replace(o, fault=told) for m in replies for o in m.outcomes)
    return Message(
        role=Role.TOOL,
        parts=(Text(fault.to_json()),),
        author=Author.TOOL,
        outcomes=outcomes,
    )


def smaller(replies: Sequence[Message], most: int, least: int) -> Iterator[tuple[Message, ...]]:
    """The replies as they are, then with pictures of half the pixels, and so on.

    Args:
        replies: What is to be said.
        most: Pixels of the largest picture as it would be shown.
        least: Pixels below which no picture is shown.
    """
    yield tuple(replies)
    while most > least:
        most = max(least, most // 2)
        yield tuple(bounded(m, most) for m in replies)


def bounded(message: Message, max_pixels: int) -> Message:
    """The same message with its pictures shown smaller."""

    def small(part: Part) -> Part:
        if not isinstance(part, Show):
            return part
        return Show(part.handle, min(max_pixels, part.max_pixels or max_pixels))

    return replace(message, parts=tuple(small(p) for p in message.parts))
