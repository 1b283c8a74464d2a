"""Writes turns one after the other, and knows what must stand between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from vtool.chat import ChatTemplate
from vtool.dialects.base import Control, Dialect, Piece, ShownSize, TurnStyle
from vtool.dialects.wording import essence, joined
from vtool.ink import Ink
from vtool.message import Action, Author, Message, Role, Text
from vtool.record import Ids, Segment
from vtool.spans import call_spans, decode_spans
from vtool.store import Store
from vtool.toolspec import ToolSpec


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a stream of tokens stands."""

    glue: str
    """What must come before the next header."""
    inline: bool = False
    """Whether a tool's output goes on in the assistant's turn."""
    speaks: bool = False
    """Whether the policy is to speak."""


SPEAKS = Stand("", speaks=True)
ENDED = Stand("\n")


class Scribe:
    """Turns into pieces and assistant turns into segments.

    Args:
        ink: Makes tokens.
        dialect: The wire syntax.
        chat: Marks of turns.
        announce: Whether tools are told in a system prompt.
    """

    def __init__(self, ink: Ink, dialect: Dialect, chat: ChatTemplate, announce: bool) -> None:
        self.ink, self.dialect, self.chat, self.announce = ink, dialect, chat, announce
        self.end = ink.codec.token_id(chat.end)
        self.stops = tuple(ink.codec.token_id(s) for s in dialect.stops)
        self.cut = Stand(f"{chat.end}\n")
        self._cut_inline = Stand(f"{chat.end}\n", inline=dialect.style is TurnStyle.INLINE)

    def after(self, ids: Ids | None) -> Stand:
        """Where the stream stands after an assistant turn with these ids."""
        last = int(ids[-1]) if ids is not None and len(ids) else -1
        return ENDED if last == self.end else self._cut_inline

    def system(self, first: Message | None, specs: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        """The system turn: its words, then the tools; nothing where there is neither."""
        default = self.chat.default_system
        said: tuple[Piece, ...] = (Text(default),) if default else ()
        said = first.parts if first else said
        tools = self.dialect.announce(specs) if self.announce else ()
        both = (*said, Text("\n\n"), *tools) if said and tools else (*said, *tools)
        if not both:
            return ()
        return (Control(self.chat.header(Role.SYSTEM)), *both, Control(self.chat.end))

    def group(
        self,
        group: Sequence[Message],
        stand: Stand,
        store: Store,
        shown: ShownSize | None,
        *,
        speaks: bool,
    ) -> tuple[tuple[Piece, ...], Stand]:
        """One user turn, system turn or run of observations.

        Args:
            group: Messages of one turn.
            stand: Where the stream stands.
            store: Holds what is shown.
            shown: Sizes at which pictures were last shown.
            speaks: Whether the policy speaks next.
        """
        tool = group[0].role is Role.TOOL
        said = self.dialect.observe(group, store, shown) if tool else group[0].parts
        if tool and stand.inline:
            return said, SPEAKS
        glue = self.cut.glue if stand.speaks else stand.glue
        front = Control(glue + self.chat.header(group[0].role))
        if speaks:
            return (front, *said, Control(f"{self.chat.end}\n{self.chat.prompt}")), SPEAKS
        return (front, *said, Control(self.chat.end)), ENDED

    def replies(
        self, replies: Sequence[Message], stand: Stand, store: Store, shown: ShownSize | None
    ) -> tuple[Piece, ...]:
        """All that is said until the policy speaks again."""
        groups = grouped(replies)
        pieces: tuple[Piece, ...] = ()
        for i, group in enumerate(groups):
            last = i + 1 == len(groups)
            more, stand = self.group(group, stand, store, shown, speaks=last)
            pieces += more
        return pieces if groups else (Control(stand.glue + self.chat.prompt),)

    def turn(self, message: Message, author: Author, number: int) -> Segment:
        """An assistant turn in tokens, ended as the policy would end it."""
        pieces = self._said(message)
        ids = self.ink.write(pieces, Store()).ids
        if not (len(ids) and int(ids[-1]) in self.stops):
            ids = np.append(ids, np.int32(self.end)).astype(np.int32)
        opening = self.chat.opening
        action = self.dialect.parse(opening + joined(pieces))
        _, ends = decode_spans(self.ink.codec.pieces(ids.tolist()))
        return Segment(
            author=author,
            turn=number,
            messages=(replace(message, action=message.action or action),),
            ids=ids,
            call_spans=call_spans(action.calls, ends, len(opening)),
        )

    def _said(self, message: Message) -> tuple[Piece, ...]:
        """A turn exactly as written where that says what its action says, else written anew."""
        action, text = message.action, message.text
        if action is not None and not self._says(text, action):
            return self.dialect.write(action)
        return self.dialect.split(text.removeprefix(self.chat.opening))

    def _says(self, text: str, action: Action) -> bool:
        return bool(action.faults) or essence(self.dialect.parse(text)) == essence(action)


def grouped(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Messages by turn: observations that follow one another share one."""
    out: list[tuple[Message, ...]] = []
    for role, run in groupby(messages, key=lambda m: m.role):
        same = tuple(run)
        out += [same] if role is Role.TOOL else [(m,) for m in same]
    return out
