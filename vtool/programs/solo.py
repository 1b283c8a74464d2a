"""`play`: one policy against one environment, turn by turn, on the record.

This is the loop of the house: training, evaluation and demo all run it. A broken tool or engine
ends the episode as failed, with the reason; it is then masked, never scored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from vtool.engines.base import ChatEngine, Completion, Request, TokenEngine
from vtool.environment import Environment, Reply
from vtool.errors import RecordError
from vtool.message import Action, Author, Message, Role, Text, ToolCall
from vtool.programs.cut import Quota, cut_segment, pieces, read_whole
from vtool.record import (
    Context,
    Edge,
    Episode,
    Finish,
    Fold,
    Fork,
    Sampling,
    Segment,
    Spawn,
    StopReason,
)
from vtool.render import Act
from vtool.seat import Seat
from vtool.workspace import runtime_of

Handler = Callable[[ToolCall, int, Context, Episode], Awaitable[Message]]
"""Answers a call in the environment's stead: gets the call, its index, and where it stands."""

Watcher = Callable[[Episode, Context], None]
"""Told after every change of the record; for live views."""


async def play(
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    key: tuple[int, ...] = (0,),
    seat: str = "policy",
    episode: Episode | None = None,
    edge: Edge | None = None,
    handlers: Mapping[str, Handler] | None = None,
    watch: Watcher | None = None,
) -> Episode:
    """Play one episode to its end.

    Args:
        env: A fresh environment (or, with `edge`, a forked one in the parent's state).
        seats: Who plays, by name.
        key: Seeds all draws; equal keys and weights give equal episodes.
        seat: The seat that plays.
        episode: The record to go on with; a new one by default.
        edge: How the new context is tied to that record.
        handlers: Tools that are answered here rather than by the environment, by name.
        watch: Told after every change.

    Returns:
        The episode, finished. `StopReason.FAILED` means that something of ours broke.
    """
    episode = episode or Episode(
        task_id=env.task.id, seed=key[-1], store=env.store, runtime=runtime_of(env)
    )
    player = Player(env, seats[seat], episode, key, handlers or {}, watch)
    start = time.monotonic()
    await guarded(player, player.run(edge))
    episode.seconds += time.monotonic() - start
    return episode


async def guarded(player: Player, going: Awaitable[object], seconds: float | None = None) -> None:
    """Let a path go on until it ends; what stops it from without is written down.

    Args:
        player: Whose path.
        going: What it does.
        seconds: How long it may take; the environment's limit by default.
    """
    clock = asyncio.timeout(player.env.limits.seconds if seconds is None else seconds)
    try:
        async with clock:
            await going
    except asyncio.CancelledError:
        player.end(StopReason.CANCELLED)
        raise
    except Exception as err:  # whatever broke, it was not the policy: recorded, never scored
        if getattr(err, "fatal", False):  # a tool that is down for good stops the run
            player.end(StopReason.FAILED)
            raise
        if isinstance(err, TimeoutError) and clock.expired():
            player.end(StopReason.TIMEOUT)
        else:
            player.end(StopReason.FAILED)
            player.episode.error = f"{type(err).__name__}: {err}"


class Player:
    """One seat playing along one path of an episode.

    Its `quota` bounds what it may draw from now on; None for no bound.
    """

    def __init__(
        self,
        env: Environment,
        seat: Seat,
        episode: Episode,
        key: tuple[int, ...],
        handlers: Mapping[str, Handler],
        watch: Watcher | None,
    ) -> None:
        self.env, self.seat, self.episode, self.key = env, seat, episode, key
        # Asked once: a protocol's `isinstance` looks through the engine's attributes each time.
        self.chat = seat.engine if isinstance(seat.engine, ChatEngine) else None
        self.handlers, self.watch = handlers, watch
        self.context: Context | None = None
        self.quota: Quota | None = None
        self.draws = 0
        """Completions begun so far; with the key they seed the next one's draws."""

    async def run(self, edge: Edge | None = None) -> None:
        """From the opening to the end."""
        if not isinstance(edge, Fork):
            await self.begin(edge)
        else:
            self.context = self.episode.open(self.seat.name, edge=edge, store=self.env.store)
        while await self.turn():
            pass

    async def begin(self, edge: Edge | None = None) -> None:
        """Open the context with the environment's first messages."""
        messages = await self.env.reset()
        self.context = self.episode.open(self.seat.name, edge=edge, store=self.env.store)
        self._write_opening(messages)

    async def turn(self) -> bool:
        """One turn of policy and environment; False when it was the last."""
        self.fold()
        action = await self.speak()
        return action is not None and await self.answer(action)

    async def speak(self) -> Action | None:
        """Let the seat write a turn; None when its context is full or its quota used up."""
        context = self._here()
        if self.chat is not None:
            return await self._chat(self.chat)
        sampling = self.seat.sampling
        while True:
            # Room is kept for the refusal of an observation that does not fit.
            room = self._room() - self.seat.renderer.refusal_room
            if room < 1:
                self.end(StopReason.MAX_TOKENS)
                return None
            if self.quota is not None and self.quota.left < 1:
                self._used_up(self.quota)
                return None
            completion, cut = await self._draw(sampling, room)
            if cut:
                self._append(cut_segment(context, completion, sampling))
                continue
            step = read_whole(self.seat.renderer, context, completion, sampling)
            if isinstance(step, Act):
                self._append(step.segment)
                return step.action
            for segment in step.segments:
                self._append(segment)
            sampling = step.sampling or self.seat.sampling

    async def answer(self, action: Action) -> bool:
        """Let the environment answer a turn; False when the episode is over."""
        context = self._here()
        if action.answer is not None:
            context.answer = action.answer
        reply = await self.env.reply(
            action, context, self.seat.renderer.dialect, await self._handled(action)
        )
        self.episode.verdicts.update(reply.verdicts)
        context.reading = reply.reading
        if reply.stop is not None:
            self._close(reply)
            return False
        if context.has_tokens and self._room() < self.seat.renderer.refusal_room:
            self.end(StopReason.MAX_TOKENS)
            return False
        self._write_reply(reply)
        return True

    def end(self, stop: StopReason) -> None:
        """Write down why the path ended; a child's end is not the episode's."""
        context = self.context
        if context is None or not self._child():
            self.episode.stop = stop
            self.episode.answer = context.answer if context is not None else None
            self.episode.reading = context.reading if context is not None else None
        if context is not None:
            context.stop = stop
            self._tell()

    def _child(self) -> bool:
        """Whether this path began with a spawn."""
        edge = self.context.edge if self.context is not None else None
        while isinstance(edge, Fold | Fork):
            edge = self.episode.contexts[edge.parent].edge
        return isinstance(edge, Spawn)

    def _used_up(self, quota: Quota) -> None:
        if quota.cuts:
            self.episode.stop = StopReason.SUSPENDED
        else:
            self.end(quota.stop)

    async def _draw(self, sampling: Sampling, room: int) -> tuple[Completion, bool]:
        """A completion, or its rest, and whether the quota cut it."""
        renderer, context = self.seat.renderer, self._here()
        engine = cast(TokenEngine, self.seat.engine)
        begun = sum(len(s) for s in pieces(context))
        wanted = min(room, sampling.max_tokens - begun)
        given = wanted if self.quota is None else min(wanted, self.quota.left)
        self.draws += not begun
        request = Request(
            prompt=renderer.prompt(context),
            sampling=replace(sampling, max_tokens=given),
            stop_ids=renderer.stop_ids,
            forbidden_ids=renderer.forbidden_ids,
            key=(*self.key, context.number, self.draws - 1),
            skip=begun,
        )
        completion = await engine.generate(request)
        if self.quota is not None:
            self.quota.left -= len(completion.ids)
        cut = given < wanted and completion.finish is Finish.LENGTH
        return completion, cut and self.quota is not None and self.quota.cuts

    async def _chat(self, engine: ChatEngine) -> Action:
        context = self._here()
        text = await engine.chat(
            context.messages(), context.store, self.env.specs, self.seat.sampling
        )
        action = self.seat.renderer.dialect.parse(text)
        message = Message(
            role=Role.ASSISTANT, parts=(Text(text),), author=Author.POLICY, action=action
        )
        self._append(Segment(author=Author.POLICY, turn=context.turn, messages=(message,)))
        return action

    async def _handled(self, action: Action) -> dict[int, Message]:
        context = self._here()
        return {
            i: await self.handlers[call.name](call, i, context, self.episode)
            for i, call in enumerate(action.calls)
            if call.name in self.handlers
        }

    def fold(self) -> None:
        """Replace the history by a new prompt, where the seat's memory says so."""
        context = self._here()
        if self.seat.memory is None or pieces(context):
            return
        messages = self.seat.memory.view(self.episode, context)
        if messages is None:
            return
        self.context = self.episode.open(self.seat.name, edge=Fold(context.number))
        self.context.answer = context.answer
        self._write_opening(messages)

    def _write_opening(self, messages: Sequence[Message]) -> None:
        context = self._here()
        if self.chat is not None:
            self._append(Segment(author=Author.USER, turn=0, messages=tuple(messages)))
            return
        for segment in self.seat.renderer.begin(messages, self.env.specs, context.store):
            self._append(segment)

    def _write_reply(self, reply: Reply) -> None:
        context = self._here()
        if not context.has_tokens:
            turn = context.turn
            self._append(Segment(author=Author.TOOL, turn=turn, messages=reply.messages))
            return
        room = self._room()
        for segment in self.seat.renderer.extend(context, reply.messages, room=room):
            self._append(segment)

    def _close(self, reply: Reply) -> None:
        """The last messages are kept as transcript: no tokens follow that nobody reads."""
        context = self._here()
        if reply.messages:
            last = Segment(
                author=Author.TOOL,
                turn=context.turn,
                messages=reply.messages,
                ids=_none() if context.has_tokens else None,
            )
            self._append(last)
        self.end(reply.stop or StopReason.FAILED)

    def _room(self) -> int:
        return self.env.limits.max_tokens - len(self._here())

    def _append(self, segment: Segment) -> None:
        self._here().append(segment)
        self._tell()

    def _tell(self) -> None:
        if self.watch is not None and self.context is not None:
            self.watch(self.episode, self.context)

    def _here(self) -> Context:
        if self.context is None:
            raise RecordError("the episode has not begun")
        return self.context


def _none() -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.zeros(0, dtype=np.int32)
