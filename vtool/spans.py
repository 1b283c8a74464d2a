"""A completion's tokens: kept as drawn, and found again from characters of their text."""

from __future__ import annotations

import codecs
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from vtool.engines.base import Completion
from vtool.message import ToolCall
from vtool.record import CallSpan, Ids


def sampled(completion: Completion) -> Ids:
    """The ids exactly as they were drawn: never decoded and encoded again."""
    return np.array(completion.ids, np.int32)


def decode_spans(pieces: Sequence[bytes]) -> tuple[str, list[int]]:
    """Text of some tokens, and how many characters are complete after each.

    Bytes that are no UTF-8 become U+FFFD; a character that is split over tokens is complete
    with its last one.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    parts: list[str] = []
    ends: list[int] = []
    count = 0
    for piece in pieces:
        parts.append(decoder.decode(piece))
        count += len(parts[-1])
        ends.append(count)
    parts.append(decoder.decode(b"", final=True))
    if ends:
        ends[-1] = count + len(parts[-1])
    return "".join(parts), ends


def call_spans(calls: Sequence[ToolCall], ends: Sequence[int], shift: int) -> tuple[CallSpan, ...]:
    """Tokens that hold each call.

    Args:
        calls: With their character spans.
        ends: Characters complete after each token.
        shift: Characters before the first token (a forced opening).
    """
    spans = []
    for i, call in enumerate(calls):
        if call.span is None:
            continue
        start, end = (max(0, at - shift) for at in call.span)
        spans.append(CallSpan(i, bisect_right(ends, start), bisect_left(ends, end) + 1))
    return tuple(spans)
