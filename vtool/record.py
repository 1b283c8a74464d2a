"""The record: what happened in one attempt at a task, once and completely.

An `Episode` holds `Context`s; a context is one append-only sequence of `Segment`s owned by one
seat, and the unit of training. Contexts are tied by edges: `Fork` (shares a prefix), `Fold`
(a new prompt replaces history), `Spawn` (a child whose result returns into a call).

Tokens are concatenated, never decoded and re-encoded. A segment says who wrote it; every mask
in the house is derived from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtool.errors import RecordError
from vtool.geometry import Size
from vtool.message import Action, Author, Json, Message, Outcome, Reading, Role
from vtool.store import Store

Ids: TypeAlias = NDArray[np.int32]
LogProbs: TypeAlias = NDArray[np.float32]


class StopReason(StrEnum):
    """Why an episode ended."""

    ANSWERED = "answered"
    NO_ACTION = "no_action"
    """The policy ended a turn with neither call nor answer."""
    MALFORMED = "malformed"
    """Too many turns that could not be read."""
    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    TIMEOUT = "timeout"
    """The wall clock: it says as much about the machine as about the policy, so it is masked."""
    CANCELLED = "cancelled"
    SUSPENDED = "suspended"
    FAILED = "failed"
    """Our fault: masked from every loss and statistic, counted, never scored."""

    @property
    def truncated(self) -> bool:
        """Whether a limit ended the episode, rather than the policy."""
        return self in (StopReason.MAX_TURNS, StopReason.MAX_TOKENS, StopReason.TIMEOUT)

    @property
    def ours(self) -> bool:
        """Whether the episode says nothing about the policy."""
        return self in (
            StopReason.FAILED,
            StopReason.CANCELLED,
            StopReason.SUSPENDED,
            StopReason.TIMEOUT,
        )


class Finish(StrEnum):
    """Why one completion ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    record_top: int = 0
    """How many alternatives to record per token (0: none)."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of placeholder tokens."""

    start: int
    """Index of the first one; from the start of the segment in a `Segment`, of the context in a
    `Context`."""
    length: int
    grid: tuple[int, int, int]
    """(t, h, w) in patches, before merging."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One showing of a picture or clip among the tokens."""

    handle: str
    kind: Literal["image", "clip"]
    runs: tuple[Run, ...]
    shown: Size
    """Size at which the model sees it; belongs to this showing, not to the picture."""
    times_s: tuple[float, ...] = ()
    video: bool = False
    """Whether a clip stands there as video tokens; a run may then hold several frames."""

    @property
    def pictures(self) -> int:
        """Pictures and frames that are shown."""
        return len(self.times_s) if self.video else len(self.runs)

    def shifted(self, by: int) -> Placement:
        """The same showing, `by` tokens later."""
        runs = tuple(Run(r.start + by, r.length, r.grid) for r in self.runs)
        return replace(self, runs=runs)


@dataclass(frozen=True, slots=True)
class CallSpan:
    """Which tokens of a segment hold a call: [start, end)."""

    call: int
    """Index of the call in the turn's action."""
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Segment:
    """A stretch of a context by one author.

    Args:
        author: Who wrote it.
        turn: Index of the assistant turn that it belongs to or answers; 0 for the prompt.
        messages: What it says; a turn of several completions holds its message in the last.
        ids: int32 (n,), or None where there are no tokens (API engines, edits).
        logprobs: float32 (n,), for the policy's tokens only: raw, temperature 1, of the
            behaviour policy.
        version: Weight version that wrote it (policy only).
        placements: Showings, counted from the start of this segment.
    """

    author: Author
    turn: int
    messages: tuple[Message, ...] = ()
    ids: Ids | None = None
    logprobs: LogProbs | None = None
    sampling: Sampling | None = None
    version: int | None = None
    finish: Finish | None = None
    placements: tuple[Placement, ...] = ()
    call_spans: tuple[CallSpan, ...] = ()
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    """Alternatives per token, (id, log-prob), where they were asked for."""

    def __post_init__(self) -> None:
        n = len(self)
        if (self.logprobs is not None) and self.author is not Author.POLICY:
            raise RecordError(f"only the policy's tokens carry log-probs, not the {self.author}'s")
        if self.author is Author.POLICY and self.ids is not None:
            if self.logprobs is None or self.logprobs.shape != (n,) or self.version is None:
                raise RecordError("policy tokens need a log-prob each, and a weight version")
            if not np.isfinite(self.logprobs).all():
                raise RecordError("policy log-probs must be finite")
        for run in (r for p in self.placements for r in p.runs):
            if not (run.start >= 0 and run.start + run.length <= n):
                raise RecordError(f"placement {run} leaves its segment of {n} tokens")
        for array in (self.ids, self.logprobs):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        return 0 if self.ids is None else len(self.ids)


@dataclass(frozen=True, slots=True)
class Fork:
    """Shares the first `at` segments of its parent."""

    parent: int
    at: int


@dataclass(frozen=True, slots=True)
class Fold:
    """A new prompt that replaces the parent's history."""

    parent: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Spawn:
    """A child context whose result returns into a call of the parent."""

    parent: int
    turn: int
    call: int


Edge: TypeAlias = Fork | Fold | Spawn


class Context:
    """One append-only sequence owned by one seat.

    Args:
        number: Index in the episode.
        seat: Name of the seat that owns it.
        store: What is visible along this path.
        edge: How it is tied to an earlier context.
        prefix: Segments shared with the parent (forks only).
    """

    def __init__(
        self,
        number: int,
        seat: str,
        store: Store,
        edge: Edge | None = None,
        prefix: Sequence[Segment] = (),
    ) -> None:
        self.number, self.seat, self.store, self.edge = number, seat, store, edge
        self.stop: StopReason | None = None
        """Why the path that ends here ended; None while it goes on or goes on elsewhere."""
        self.answer: str | None = None
        self.reading: Reading | None = None
        self._prefix = tuple(prefix)
        self._own: list[Segment] = []

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, shared prefix included."""
        return (*self._prefix, *self._own)

    @property
    def shared(self) -> int:
        """How many leading segments belong to the parent (trained there)."""
        return len(self._prefix)

    def append(self, segment: Segment) -> None:
        """Add a segment at the end.

        Raises:
            RecordError: Tokens after a segment without tokens or the other way round, or a
                turn that goes back.
        """
        old = self.segments
        if old and (old[-1].ids is None) != (segment.ids is None):
            raise RecordError("a context has tokens throughout, or none")
        if old and segment.turn < old[-1].turn:
            raise RecordError(f"turn {segment.turn} after turn {old[-1].turn}")
        self._own.append(segment)

    def __len__(self) -> int:
        return sum(len(s) for s in self.segments)

    @property
    def has_tokens(self) -> bool:
        """Whether this context is known token by token."""
        return bool(self.segments) and self.segments[0].ids is not None

    def ids(self) -> Ids:
        """Expanded token ids, int32 (L,).

        Raises:
            RecordError: The context has no tokens.
        """
        parts = [s.ids for s in self.segments if s.ids is not None]
        if not self.has_tokens:
            raise RecordError("this context has no tokens: encode its transcript first")
        return np.concatenate(parts)

    def mask(self, *authors: Author) -> NDArray[np.bool_]:
        """True on tokens by these authors (the policy's by default), bool (L,)."""
        wanted = authors or (Author.POLICY,)
        parts = [np.full(len(s), s.author in wanted) for s in self.segments]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)

    def logprobs(self) -> LogProbs:
        """Behaviour log-probs, float32 (L,), 0 where the policy did not write."""
        parts = [
            s.logprobs if s.logprobs is not None else np.zeros(len(s), np.float32)
            for s in self.segments
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def placements(self) -> tuple[Placement, ...]:
        """All showings, counted from the start of the context."""
        out: list[Placement] = []
        at = 0
        for seg in self.segments:
            out += [p.shifted(at) for p in seg.placements]
            at += len(seg)
        return tuple(out)

    def boundaries(self) -> tuple[int, ...]:
        """Token counts after each segment."""
        return tuple(int(n) for n in np.cumsum([len(s) for s in self.segments]))

    def messages(self) -> tuple[Message, ...]:
        """The transcript."""
        return tuple(m for s in self.segments for m in s.messages)

    def shown(self, handle: str) -> Size | None:
        """Size of the latest showing of a picture here, or None."""
        for placement in reversed(self.placements()):
            if placement.handle == handle:
                return placement.shown
        return None

    @property
    def turn(self) -> int:
        """Number of assistant turns so far."""
        return sum(m.role is Role.ASSISTANT for m in self.messages())


@dataclass(slots=True, eq=False, kw_only=True, repr=False)
class Episode:
    """One attempt at a task."""

    task_id: str
    seed: int = 0
    store: Store = field(default_factory=Store)
    contexts: list[Context] = field(default_factory=list)
    stop: StopReason = StopReason.SUSPENDED
    answer: str | None = None
    reading: Reading | None = None
    """What the answer says beyond its words (places, attributes, confidence), where asked."""
    verdicts: dict[str, Json] = field(default_factory=dict)
    """What the environment found, such as success of an executed program."""
    error: str | None = None
    """For `StopReason.FAILED`: what broke."""
    seconds: float = 0.0
    runtime: Mapping[str, Json] = field(default_factory=dict)
    """The contract under which it ran: seats, dialect, tools and versions, limits."""
    leaf: int | None = None
    """The context whose path this view reads, where the episode is a tree; None: the last."""

    def __repr__(self) -> str:
        """A line: the whole record would be megabytes of tokens and pixels."""
        counts = f"{len(self.contexts)} contexts, {len(self.store)} stored"
        return f"Episode({self.task_id!r}, {self.stop.value}, answer={self.answer!r}, {counts})"

    def open(
        self,
        seat: str,
        *,
        edge: Edge | None = None,
        store: Store | None = None,
    ) -> Context:
        """Begin a context.

        A fork shares its parent's first segments and a branch of its store; a fold and a spawn
        go on in the parent's store, the first context in the episode's.
        """
        prefix: tuple[Segment, ...] = ()
        if edge is not None:
            if not 0 <= edge.parent < len(self.contexts):
                raise RecordError(f"{edge} names context {edge.parent}, which is not here")
            parent = self.contexts[edge.parent]
            if isinstance(edge, Fork):
                prefix = parent.segments[: edge.at]
                # An empty store is a store: only None means that none was given.
                store = parent.store.fork() if store is None else store
            store = parent.store if store is None else store
        store = self.store if store is None else store
        context = Context(len(self.contexts), seat, store, edge, prefix)
        self.contexts.append(context)
        return context

    @property
    def final(self) -> Context:
        """The context in which the path ends: the leaf, or the last that is no spawned child.

        Raises:
            RecordError: The episode never began.
        """
        if self.leaf is not None:
            return self.contexts[self.leaf]
        for context in reversed(self.contexts):
            if not isinstance(context.edge, Spawn):
                return context
        raise RecordError("this episode has no context yet")

    def leaves(self) -> list[Episode]:
        """One view a finished path: a tree's attempts, to be scored each on its own."""
        ends = [c for c in self.contexts if c.stop is not None and not isinstance(c.edge, Spawn)]
        return [
            replace(
                self,
                leaf=c.number,
                stop=c.stop or self.stop,
                answer=c.answer,
                reading=c.reading,
            )
            for c in ends
        ]

    def actions(self) -> list[Action]:
        """The assistant turns along the path of the final context."""
        return [m.action for m in self.path_messages() if m.action is not None]

    def outcomes(self) -> list[Outcome]:
        """What became of each call along the path of the final context, in call order."""
        return [o for m in self.path_messages() for o in m.outcomes]

    def path_messages(self) -> list[Message]:
        """Messages along the path of the final context, folds followed back."""
        if not self.contexts:
            return []
        context, parts = self.final, []
        while True:
            parts.append(context.messages())
            edge = context.edge
            while isinstance(edge, Fork):  # its prefix is the parent's; what was before, too
                edge = self.contexts[edge.parent].edge
            if not isinstance(edge, Fold):
                break
            context = self.contexts[edge.parent]
        return [m for part in reversed(parts) for m in part]


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts at one task: the unit over which GRPO centres."""

    task_id: str
    episodes: tuple[Episode, ...]
