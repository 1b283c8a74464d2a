"""Which tokens of a turn a credit lands on: kinds of tokens by name.

Calls are known from the record (`Segment.call_spans`). What the action says elsewhere (the
answer, the thought, a tool's name) is found again in the turn's text, so a kind never reads wire
syntax, and needs the tokenizer's bytes. Every kind answers for tokens of the policy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vtool.errors import RecipeError
from vtool.message import Action, Author
from vtool.record import Context, Segment
from vtool.registry import Registry
from vtool.spans import decode_spans

from .advantage import Bools

Pieces: TypeAlias = Callable[[Sequence[int]], list[bytes]]
"""Bytes of each token; `Codec.pieces`."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One segment of the policy, and what the turn that it belongs to says.

    Args:
        segment: The tokens.
        action: Of the turn; None where it never ended.
        pieces: Bytes of tokens, where they are known.
    """

    segment: Segment
    action: Action | None
    pieces: Pieces | None

    def text(self) -> tuple[str, list[int]]:
        """The segment's text, and how many characters are complete after each token.

        Raises:
            RecipeError: There is no tokenizer to ask.
        """
        if self.pieces is None or self.segment.ids is None:
            raise RecipeError(
                "credit on a kind of tokens that is found in the text needs the tokenizer: give "
                "group_credits(codecs={seat: codec}), or use the kinds all, calls and rest"
            )
        return decode_spans(self.pieces(self.segment.ids.tolist()))

    def tokens_of(self, words: str, *, within: tuple[int, int] | None = None) -> Bools:
        """Tokens that hold some words, their last occurrence; none where they do not occur.

        Args:
            words: Looked for as they stand.
            within: Token range [start, end) in which to look; then the first occurrence counts.
        """
        out = np.zeros(len(self.segment), bool)
        if not words:
            return out
        text, ends = self.text()
        if within is None:
            start = text.rfind(words)
        else:
            low = ends[within[0] - 1] if within[0] else 0
            start = text.find(words, low, ends[within[1] - 1] if within[1] else 0)
        if start < 0:
            return out
        begins = [0, *ends[:-1]]
        for i, (low, high) in enumerate(zip(begins, ends, strict=True)):
            out[i] = low < start + len(words) and high > start
        return out


Kind: TypeAlias = Callable[[Turn], Bools]
"""(n,) True for the tokens of one policy segment that are of the kind."""

token_kinds: Registry[Kind] = Registry("kind of tokens", "vtool.token_kinds")


def token_kind(name: str) -> Callable[[Kind], Kind]:
    """Register a kind under a name; the function itself is returned unchanged."""

    def make(fn: Kind) -> Kind:
        return token_kinds.add(name, fn)

    return make


ALL = "all"


@token_kind(ALL)
def everything(turn: Turn) -> Bools:
    """Every token of the policy."""
    return np.ones(len(turn.segment), bool)


@token_kind("calls")
def calls(turn: Turn) -> Bools:
    """Tokens that write a tool call (ToolPO's M = 1)."""
    out = np.zeros(len(turn.segment), bool)
    for span in turn.segment.call_spans:
        out[span.start : span.end] = True
    return out


@token_kind("rest")
def rest(turn: Turn) -> Bools:
    """Tokens outside of calls."""
    return ~calls(turn)


@token_kind("names")
def names(turn: Turn) -> Bools:
    """Tokens that write which tool is called, the whole name."""
    out = np.zeros(len(turn.segment), bool)
    for span in turn.segment.call_spans:
        called = turn.action.calls[span.call].name if turn.action else ""
        out |= turn.tokens_of(called, within=(span.start, span.end))
    return out


@token_kind("arguments")
def arguments(turn: Turn) -> Bools:
    """Tokens of calls that do not write the tool's name."""
    return calls(turn) & ~names(turn)


@token_kind("answer")
def answer(turn: Turn) -> Bools:
    """Tokens that write the answer's words."""
    return turn.tokens_of((turn.action.answer or "").strip() if turn.action else "")


@token_kind("thought")
def thought(turn: Turn) -> Bools:
    """Tokens that write the turn's thought."""
    return turn.tokens_of(turn.action.thought.strip() if turn.action else "")


def tokens_of_kind(kind: str, context: Context, index: int, pieces: Pieces | None = None) -> Bools:
    """Tokens of one segment that are of a kind; none where the policy did not write it.

    Args:
        kind: Name of the kind.
        context: Holds the segment.
        index: Which of `context.segments`.
        pieces: The tokenizer's bytes; only kinds that look into the text need them.

    Raises:
        UnknownName: No such kind.
        RecipeError: The kind needs the tokenizer.
    """
    segment = context.segments[index]
    if segment.author is not Author.POLICY:
        return np.zeros(len(segment), bool)
    return token_kinds.get(kind)(Turn(segment, _action(context, segment), pieces))


def _action(context: Context, segment: Segment) -> Action | None:
    """What the segment's turn asks for; it may stand in a later completion of the same turn."""
    for other in context.segments:
        if other.turn == segment.turn and other.author is Author.POLICY:
            for message in other.messages:
                if message.action is not None:
                    return message.action
    return None
