"""What a trace tells of credit: how an attempt was rewarded and what each token got for it.

Whoever trains writes a note beside the attempt; whoever shows or checks a trace reads it. The
numbers follow the contexts of the recorded episode: for each context, one entry for each segment
of its own (without what it shares with a parent), None where nothing was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vtool.errors import TraceError
from vtool.record import Episode

NOTE = "credit"
"""Where it stands among the notes of a line."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SegmentCredit(_Frozen):
    """What a segment's tokens got."""

    advantage: float | tuple[float, ...]
    """One number for all of its tokens, or one a token."""
    pieces: tuple[str, ...] = ()
    """Text of each token; empty where no tokenizer was at hand."""


class OtherWeighting(_Frozen):
    """What the same attempts would have given under another combine."""

    name: str
    total: float | None
    """None where it could not have been scored."""
    advantages: tuple[tuple[float | None, ...], ...]
    """For each context and segment, the mean over its tokens."""


class CreditNote(_Frozen):
    """The credit of one attempt."""

    group: int
    """Which group of the step it belongs to."""
    combine: str
    options: dict[str, Any]
    """All of the combine's, defaults included."""
    outcome: str
    """The part that says how right the answer is."""
    rule: str
    """How totals became advantages."""
    given: tuple[tuple[SegmentCredit | None, ...], ...]
    others: tuple[OtherWeighting, ...] = ()


def read_note(episode: Episode, meta: Mapping[str, Any]) -> CreditNote | None:
    """The note of an attempt; None where nothing was learnt from it.

    Raises:
        TraceError: There is one, but it does not fit the episode.
    """
    if NOTE not in meta:
        return None
    try:
        note = CreditNote.model_validate(meta[NOTE])
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise TraceError(
            f"the credit note of an attempt at {episode.task_id!r} cannot be read: {where}: "
            f"{first['msg']}"
        ) from err
    wanted = [len(c.segments) - c.shared for c in episode.contexts]
    for what, rows in [("it", note.given), *((o.name, o.advantages) for o in note.others)]:
        if [len(row) for row in rows] != wanted:
            raise TraceError(
                f"the credit note of an attempt at {episode.task_id!r} does not fit: {what} has "
                f"{[len(row) for row in rows]} segments a context, the episode {wanted}"
            )
    return note
