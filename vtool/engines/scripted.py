"""Engines without a model: they say what they were told to say.

They ship with the package because tests, demos and benchmarks of everything above an engine need
one that costs nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from vtool.engines.base import Capabilities, Completion, Request
from vtool.errors import EngineError
from vtool.message import Message, Role
from vtool.record import Finish, Sampling
from vtool.store import Store
from vtool.toolspec import ToolSpec

Line: TypeAlias = str | Sequence[int] | Exception
"""What to say: text, ids, or an error to raise."""

Script: TypeAlias = (
    Sequence[Line] | Mapping[tuple[int, ...], Sequence[Line]] | Callable[[Request], Line]
)
"""Lines for everybody, lines by key, or a function of the request.

The last number of a request's key says which line: the programs of the house count an episode's
draws there. A mapping is asked for the longest of its keys that begins the request's.
"""


class Codec(Protocol):
    """What turns a script's text into ids."""

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of control tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary words."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """Bytes of each token."""
        ...


@dataclass(slots=True)
class ScriptedEngine:
    """A `TokenEngine` that follows a script.

    Args:
        script: What to say.
        codec: Makes ids of text, control tokens recognised; not needed where a script holds ids.
        end: Ids appended to every text line that does not run into `max_tokens`.
        logprob: Of every token.
        seconds: How long each completion takes.
        version: Weight version to claim.
    """

    script: Script
    codec: Codec | None = None
    end: tuple[int, ...] = ()
    logprob: float = -1.0
    seconds: float = 0.0
    version: int = 0
    requests: list[Request] = field(default_factory=list)
    """What was asked, in order."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities(
            pictures=True, logprobs=False, top=False, synchronous=True, updates=False
        )

    async def generate(self, request: Request) -> Completion:
        """Say the next line.

        Raises:
            EngineError: The script has no such line.
        """
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        line = self._line(request)
        if isinstance(line, Exception):
            raise line
        return self._completion(line, request)

    def _line(self, request: Request) -> Line:
        if callable(self.script):
            return self.script(request)
        lines = self.script
        if isinstance(lines, Mapping):
            lines = lines[check_key(lines, request.key)]
        return check_line(lines, request.key[-1], request.key)

    def _completion(self, line: str | Sequence[int], request: Request) -> Completion:
        ids = self._ids(line)[request.skip :]
        limit = request.sampling.max_tokens
        stops = [i for i, token in enumerate(ids) if token in request.stop_ids]
        cut = min(limit, stops[0] + 1 if stops else len(ids))
        ids = ids[:cut]
        ended = cut < limit or bool(ids and ids[-1] in request.stop_ids)
        return Completion(
            ids=np.array(ids, dtype=np.int32),
            logprobs=np.full(len(ids), self.logprob, dtype=np.float32),
            finish=Finish.STOP if ended else Finish.LENGTH,
            version=self.version,
        )

    def _ids(self, line: str | Sequence[int]) -> list[int]:
        if not isinstance(line, str):
            return [int(i) for i in line]
        if self.codec is None:
            raise EngineError("a script of texts needs a codec: ScriptedEngine(..., codec=...)")
        return [*encode_script(self.codec, line), *self.end]


@dataclass(slots=True)
class ScriptedChat:
    """A `ChatEngine` that follows a script: text in, text out, no ids.

    Args:
        script: Lines in the order in which they are asked for over one conversation (the count
            of assistant messages so far picks the line), or a function of the messages.
        seconds: How long each reply takes.
    """

    script: Sequence[str | Exception] | Callable[[Sequence[Message]], str]
    seconds: float = 0.0
    asked: list[tuple[Message, ...]] = field(default_factory=list)
    """The conversations, in the order in which they came."""

    async def chat(
        self,
        messages: Sequence[Message],
        store: Store,
        specs: Sequence[ToolSpec],
        sampling: Sampling,
    ) -> str:
        """Say the next line.

        Raises:
            EngineError: The script has no such line.
        """
        self.asked.append(tuple(messages))
        await asyncio.sleep(self.seconds)
        if callable(self.script):
            return self.script(messages)
        turn = sum(m.role is Role.ASSISTANT for m in messages)
        line = check_line(self.script, turn, (turn,))
        if isinstance(line, Exception):
            raise line
        return str(line)


def encode_script(codec: Codec, text: str) -> list[int]:
    """Ids of a text in which control tokens are meant as such."""
    ids = sorted(codec.control_ids)
    spelt = {piece.decode(): i for i, piece in zip(ids, codec.pieces(ids), strict=True)}
    pattern = "|".join(re.escape(c) for c in sorted(spelt, key=len, reverse=True))
    parts = re.split(f"({pattern})", text) if spelt else [text]
    return [i for p in parts if p for i in ([spelt[p]] if p in spelt else codec.encode(p))]


def check_key(script: Mapping[tuple[int, ...], object], key: tuple[int, ...]) -> tuple[int, ...]:
    """The script's key for a request: the longest that begins the request's.

    Raises:
        EngineError: None does.
    """
    found = [k for k in script if key[: len(k)] == k]
    if not found:
        raise EngineError(f"the script has no lines for key {key}; it has {sorted(script)}")
    return max(found, key=len)


def check_line(lines: Sequence[Line], turn: int, key: tuple[int, ...]) -> Line:
    """Line number ``turn``.

    Raises:
        EngineError: The script is shorter.
    """
    if turn >= len(lines):
        raise EngineError(
            f"the script for {key} has {len(lines)} lines, but line {turn + 1} was asked for"
        )
    return lines[turn]
