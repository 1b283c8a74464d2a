"""What an engine promises: tokens in, tokens out (or messages, for services without ids).

Nothing here knows a wire syntax, a tool or a reward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vtool.families.base import Patches
from vtool.message import Message
from vtool.record import Finish, Ids, LogProbs, Run, Sampling
from vtool.store import Store
from vtool.toolspec import ToolSpec


@dataclass(frozen=True, slots=True)
class Picture:
    """One showing of a picture, or of a stretch of a clip, in a prompt, ready for the tower."""

    run: Run
    """Counted from the start of the prompt."""
    digest: str
    """Identifies pixels and processing: equal digests have equal patches."""
    patches: Patches
    video: bool = False
    """Whether its placeholders are those of clips."""
    times_s: tuple[float, ...] = ()
    """Time of each temporal unit, where positions follow the clock."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole context as an engine reads it."""

    ids: Ids
    """Expanded ids, int32 (L,)."""
    pictures: tuple[Picture, ...] = ()
    boundaries: tuple[int, ...] = ()
    """Token counts at which earlier requests may have ended: where cached prefixes can stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One wish for a completion."""

    prompt: Prompt
    sampling: Sampling
    stop_ids: tuple[int, ...]
    """Ids that end the completion; the one that was sampled is part of it."""
    forbidden_ids: tuple[int, ...] = ()
    """Ids that may never be sampled, vision placeholders above all."""
    key: tuple[int, ...] = (0,)
    """Seeds the draws: equal keys draw equal uniforms, whatever else is in the batch. Also
    orders a batch in synchronous mode."""
    skip: int = 0
    """Tokens of this completion that were drawn before, and are in the prompt by now: the draws
    go on after them, as if the completion had not been cut."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Completion:
    """What came back."""

    ids: Ids
    logprobs: LogProbs
    """Raw log-probs at temperature 1 over the full vocabulary, float32, one per id."""
    finish: Finish
    version: int
    top: tuple[tuple[tuple[int, float], ...], ...] = ()


@runtime_checkable
class TokenEngine(Protocol):
    """Ids in, ids and log-probs out."""

    @property
    def version(self) -> int:
        """Weight version that the next token will be drawn from."""
        ...

    async def generate(self, request: Request) -> Completion:
        """Draw one completion.

        Raises:
            EngineError: The engine is broken; the request says nothing about the policy.
        """
        ...


@runtime_checkable
class ChatEngine(Protocol):
    """Messages in, text out; no ids, hence nothing to train on directly."""

    async def chat(
        self,
        messages: Sequence[Message],
        store: Store,
        specs: Sequence[ToolSpec],
        sampling: Sampling,
    ) -> str:
        """Write the next assistant turn in the engine's dialect.

        Raises:
            EngineError: The service is broken or unreachable.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do beyond drawing tokens."""

    pictures: bool
    logprobs: bool
    """Whether log-probs are the model's own; a scripted engine makes them up."""
    top: bool
    """Whether `Sampling.record_top` is honoured."""
    synchronous: bool
    """Whether batches are a function of seeds and turns, so that runs repeat bit for bit."""
    updates: bool
    """Whether it is a `WeightSink`."""


class WeightSink(Protocol):
    """Something that can take new weights."""

    def update(self, weights: Iterable[tuple[str, Any]], version: int) -> None:
        """Replace weights by name and drop every cache that depends on them."""
        ...
