"""What an episode is played against: it resets, replies, and says when it is over.

An environment is single use. It knows messages and stores; it knows no tokens, no template and
no reward.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from vtool.dialects.answer import read_answer
from vtool.dialects.base import Dialect
from vtool.errors import DataError, FaultCode, ForkRefused, ModelFault, VToolError
from vtool.media import Image
from vtool.message import (
    Action,
    Author,
    Json,
    Message,
    Part,
    Reading,
    Role,
    Show,
    Text,
    ToolCall,
)
from vtool.record import Context, StopReason
from vtool.store import Store
from vtool.task import Task, TaskPart
from vtool.toolbox import Toolbox, refusal
from vtool.toolspec import ToolSpec
from vtool.video.source import Video
from vtool.workspace import Belongings, runtime_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an episode. Reaching one ends it as truncated."""

    max_turns: int = 6
    max_tokens: int = 4096
    """Tokens of one context."""
    max_images: int = 16
    """Pictures in the store, the question's among them, beyond which no tool adds another."""
    max_bad_turns: int = 3
    """Turns that could not be read, after which the episode ends as malformed."""
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the environment says to an action."""

    messages: tuple[Message, ...] = ()
    stop: StopReason | None = None
    verdicts: Mapping[str, Json] = field(default_factory=dict)
    reading: Reading | None = None
    """Of the answer that ended the episode."""


class ForkMode(StrEnum):
    """How an environment's state can be had twice."""

    SNAPSHOT = "snapshot"
    REPLAY = "replay"


class Environment(Protocol):
    """One attempt's world."""

    task: Task
    limits: Limits

    @property
    def store(self) -> Store:
        """What there is to see on this path."""
        ...

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools on offer."""
        ...

    async def reset(self) -> tuple[Message, ...]:
        """Begin; once only.

        Raises:
            VToolError: It was begun before.
        """
        ...

    async def reply(
        self,
        action: Action,
        context: Context,
        dialect: Dialect,
        answered: Mapping[int, Message] | None = None,
    ) -> Reply:
        """Answer one assistant turn.

        Args:
            action: What the turn asks for.
            context: Where it was written (for the sizes at which pictures were shown).
            dialect: How it was written.
            answered: Tool messages for calls, by index, that somebody else has answered (a
                sub-agent, a person); the environment runs the others.

        Raises:
            VToolError: It has not begun, or is over.
            ToolBroken: A tool broke: our fault.
        """
        ...

    async def fork(self) -> Environment:
        """A second environment in the same state, on a branch of the store.

        Raises:
            ForkRefused: Its state can be neither copied nor replayed.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class ToolEnvironment:
    """Question, tools, answer: the environment of visual question answering.

    Args:
        task: The question with its pictures.
        toolbox: The tools on offer (those that the task allows are kept).
        limits: Bounds of the episode.
        seed: For tools that draw.
    """

    fork_mode = ForkMode.SNAPSHOT

    def __init__(
        self, task: Task, toolbox: Toolbox, limits: Limits | None = None, seed: int = 0
    ) -> None:
        self.task = task
        self.limits = limits or Limits()
        self.store = Store()
        self._toolbox = toolbox if task.tools is None else toolbox.only(task.tools)
        self._seed = seed
        self._turns = 0
        self._bad = 0
        self._begun = False
        self._over = False
        self._belongings = Belongings()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools on offer."""
        return self._toolbox.specs

    @property
    def runtime(self) -> dict[str, Json]:
        """What the record says of its tools; see `vtool.workspace.contract`."""
        return self._toolbox.runtime

    async def reset(self) -> tuple[Message, ...]:
        """Put the task's media into the store and ask the question."""
        if self._begun:
            raise VToolError("an environment is single use: make a new one for another attempt")
        self._begun = True
        check_pictures(self.task, self.limits)
        parts = [self._opening(p) for p in self.task.prompt]
        question = Message(role=Role.USER, parts=tuple(parts), author=Author.USER)
        if self.task.system is None:
            return (question,)
        rules = Message(role=Role.SYSTEM, parts=(Text(self.task.system),), author=Author.TEMPLATE)
        return (rules, question)

    async def reply(
        self,
        action: Action,
        context: Context,
        dialect: Dialect,
        answered: Mapping[int, Message] | None = None,
    ) -> Reply:
        """Run the turn's calls, or end the episode with its answer."""
        if not self._begun or self._over:
            raise VToolError("reply() needs an episode that has begun and is not over")
        self._turns += 1
        if action.answer is not None and not action.calls and not action.faults:
            reading = read_answer(action, self.task, self.store, dialect, context.shown)
            return self._end(StopReason.ANSWERED, reading=reading)
        messages = [refusal(_as_fault(f)) for f in action.faults]
        if action.calls:
            messages += await self._run(action, context, dialect, answered or {})
        if not messages:
            return self._end(StopReason.NO_ACTION)
        self._bad += bool(action.faults) and not action.calls
        if self._bad >= self.limits.max_bad_turns:
            return self._end(StopReason.MALFORMED, tuple(messages))
        if self._turns >= self.limits.max_turns:
            return self._end(StopReason.MAX_TURNS, tuple(messages))
        return Reply(tuple(messages))

    async def fork(self) -> ToolEnvironment:
        """Copy the state; the store branches."""
        if not self._begun or self._over:
            raise ForkRefused("only an episode that has begun and is not over can be forked")
        other = ToolEnvironment(self.task, self._toolbox, self.limits, self._seed)
        other._belongings = await asyncio.to_thread(self._belongings.fork)
        other.store = self.store.fork()
        other._turns, other._bad, other._begun = self._turns, self._bad, True
        return other

    async def close(self) -> None:
        """Give back what the tools kept."""
        await asyncio.to_thread(self._belongings.close)

    def _opening(self, part: TaskPart) -> Part:
        if isinstance(part, str):
            return Text(part)
        handle = self.store.add(part).handle
        if isinstance(part, Video):
            # A video has no pixels of its own to show: tools look into it, by this name.
            return Text(f"${handle} ({part.describe()})")
        return Show(handle)

    async def _run(
        self,
        action: Action,
        context: Context,
        dialect: Dialect,
        answered: Mapping[int, Message],
    ) -> list[Message]:
        calls = [c for i, c in enumerate(action.calls) if i not in answered]
        replies = iter(await self._tools(calls, context, dialect) if calls else ())
        return [answered.get(i) or next(replies) for i in range(len(action.calls))]

    async def _tools(
        self, calls: Sequence[ToolCall], context: Context, dialect: Dialect
    ) -> list[Message]:
        room = max(0, self.limits.max_images - len(self.store.images()))
        # The task has its say: attempts of one number would else share a tool's luck in all tasks.
        seed = (
            zlib.crc32(self.task.id.encode(errors="surrogatepass")) * 1_000_003
            + self._seed * 7919
            + self._turns
        )
        return await self._toolbox.run(
            calls,
            self.store,
            dialect,
            context.shown,
            seed=seed,
            belongings=self._belongings,
            room=room,
        )

    def _end(
        self,
        stop: StopReason,
        messages: tuple[Message, ...] = (),
        reading: Reading | None = None,
    ) -> Reply:
        self._over = True
        return Reply(messages, stop, reading=reading)


def check_pictures(task: Task, limits: Limits) -> None:
    """A question must leave room for its own pictures.

    Raises:
        DataError: It shows more than the limits allow.
    """
    count = sum(isinstance(p, Image) for p in task.prompt)
    if count > limits.max_images:
        raise DataError(
            f"task {task.id!r} shows {count} pictures, but limits.max_images is "
            f"{limits.max_images} (too_many_images): raise the limit or ask about fewer"
        )


class ReplayFork:
    """Gives fork by replay to an environment that cannot copy its state.

    The wrapped environment is made anew and the recorded actions are sent again; a reply that
    differs from the recorded one refuses the fork, since the branch would not share its past.

    Args:
        make: Makes a fresh environment of the same task and seed.
    """

    fork_mode = ForkMode.REPLAY

    def __init__(self, make: EnvironmentMaker) -> None:
        self._make = make
        self._env = make()
        self._past: list[tuple[Action, Context, Dialect, dict[int, Message], Reply]] = []
        self.task, self.limits = self._env.task, self._env.limits

    @property
    def store(self) -> Store:
        """The wrapped environment's store."""
        return self._env.store

    @property
    def runtime(self) -> dict[str, Json]:
        """The wrapped environment's contract."""
        return runtime_of(self._env)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools on offer."""
        return self._env.specs

    async def reset(self) -> tuple[Message, ...]:
        """Begin."""
        return await self._env.reset()

    async def reply(
        self,
        action: Action,
        context: Context,
        dialect: Dialect,
        answered: Mapping[int, Message] | None = None,
    ) -> Reply:
        """Answer one turn, and remember it."""
        reply = await self._env.reply(action, context, dialect, answered)
        self._past.append((action, context, dialect, dict(answered or {}), reply))
        return reply

    async def fork(self) -> ReplayFork:
        """Play the past again in a fresh environment.

        Raises:
            ForkRefused: The past did not come out the same.
        """
        other = ReplayFork(self._make)
        await other.reset()
        for action, context, dialect, answered, reply in self._past:
            again = await other.reply(action, context, dialect, answered)
            if _essence(again, other.store) != _essence(reply, self.store):
                raise ForkRefused(
                    f"replay of task {self.task.id!r} gave another reply than the first time"
                )
        return other

    async def close(self) -> None:
        """Close the wrapped environment."""
        await self._env.close()


class EnvironmentMaker(Protocol):
    """Makes a fresh environment of one task and seed."""

    def __call__(self) -> Environment:
        """Make it."""
        ...


def _as_fault(fault: object) -> ModelFault:
    code, message = getattr(fault, "code", None), getattr(fault, "message", "")
    assert isinstance(code, FaultCode)
    return ModelFault(
        code, message, hint=getattr(fault, "hint", None), field=getattr(fault, "field", None)
    )


def _essence(reply: Reply, store: Store) -> object:
    """A reply without what may differ between runs (seconds, cache hits), digests for handles."""

    def part(p: Part) -> object:
        return store[p.handle].digest if isinstance(p, Show) else p

    return (
        reply.stop,
        tuple((m.role, tuple(part(p) for p in m.parts)) for m in reply.messages),
        tuple(
            replace(o, seconds=0.0, cached=False, bound=None)
            for m in reply.messages
            for o in m.outcomes
        ),
    )
