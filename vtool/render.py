"""The Renderer: the one place that knows how things are written for one kind of model.

It joins a family (tokens, pixels), a dialect (wire syntax) and a tokenizer, and turns messages
into segments of a context, contexts into prompts, and completions into actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from vtool.dialects.base import Dialect
from vtool.engines.base import Completion, Prompt
from vtool.message import Action, Message
from vtool.record import Context, Sampling, Segment
from vtool.store import Store
from vtool.toolspec import ToolSpec


@dataclass(frozen=True, slots=True)
class Act:
    """The turn is over: append `segment`, then do what `action` says."""

    segment: Segment
    action: Action


@dataclass(frozen=True, slots=True)
class Continue:
    """The turn goes on: append `segments` (the completion and what is injected), draw again."""

    segments: tuple[Segment, ...]
    sampling: Sampling | None = None


Next: TypeAlias = Act | Continue


class Renderer(Protocol):
    """How things are written for one kind of model."""

    name: str
    dialect: Dialect
    stop_ids: tuple[int, ...]
    """Ids that end a completion."""
    forbidden_ids: tuple[int, ...]
    """Ids that must never be sampled (vision placeholders)."""

    refusal_room: int
    """Tokens that the longest refusal of an observation takes."""

    def begin(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """Write the opening of a context, up to where the policy speaks.

        Raises:
            RecordError: `too_many_images` and the like: the task itself does not fit.
        """
        ...

    def next(self, context: Context, completion: Completion, sampling: Sampling) -> Next:
        """Read a completion that continues `context`."""
        ...

    def extend(
        self, context: Context, replies: Sequence[Message], *, room: int | None = None
    ) -> tuple[Segment, ...]:
        """Write what the environment says, up to where the policy speaks again.

        Args:
            context: What there is so far; not changed.
            replies: The environment's messages.
            room: Tokens left. An observation that does not fit is shown smaller if it can be,
                else replaced whole by a `no_room` refusal; it is never cut.
        """
        ...

    def write_turn(self, context: Context, message: Message) -> tuple[Segment, ...]:
        """Write an assistant turn that the policy did not sample (a person's, a teacher's).

        The segments continue `context` token for token and carry the message's author; none of
        their tokens counts as the policy's.
        """
        ...

    def prompt(self, context: Context) -> Prompt:
        """The context as an engine reads it.

        Counts of placeholders, grids and pixel rows are checked.

        Raises:
            RecordError: A count is off.
        """
        ...

    def encode(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """Make tokens of a foreign transcript (teacher, API engine, human edit).

        Assistant messages keep their author; none of their tokens counts as the policy's.
        """
        ...
