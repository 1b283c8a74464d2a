"""One question under way: played, stopped, edited and gone on with, all on one record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from vtool.environment import Limits, ToolEnvironment
from vtool.message import Action, Author
from vtool.programs.branch import rerun
from vtool.programs.solo import play
from vtool.record import Context, Episode
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.workspace import runtime_of

from .policies import Cast


@dataclass(slots=True, eq=False)
class Attempt:
    """A question, who was asked, and all paths that came of it.

    Args:
        task: The question.
        cast: Who is asked.
        toolbox: What may be used; shared by everybody, never closed here.
        limits: Bounds of each path.
        seed: Of the draws.
    """

    task: Task
    cast: Cast
    toolbox: Toolbox
    limits: Limits
    seed: int = 0
    episode: Episode | None = None
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    """How long a segment took to come, by number of context and segment."""
    wish: str = ""
    """What could not be done of the last wish, and why."""
    _going: asyncio.Future[object] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _last: float = 0.0

    @property
    def going(self) -> bool:
        """Whether somebody is playing."""
        return self._going is not None and not self._going.done()

    async def play(self) -> AsyncIterator[None]:
        """Play from the beginning; yields whenever there is something new to see."""
        env = self._environment()
        self.episode = Episode(
            task_id=self.task.id, seed=self.seed, store=env.store, runtime=runtime_of(env)
        )
        doing = play(env, self._seats(), key=(self.seed,), episode=self.episode, watch=self._watch)
        async for _ in self._follow(doing, env):
            yield

    async def rerun(self, leaf: int, turn: int, edit: Action | None) -> AsyncIterator[None]:
        """Go on from a past turn, perhaps with another action there; yields as `play` does.

        Args:
            leaf: The context whose path is left.
            turn: The turn to do again, from 0.
            edit: What to do there; None lets the policy write it anew.

        Raises:
            ForkRefused: There is no such turn, or the past cannot be brought back.
            RecordError: No turn of this policy's dialect says what the edit says.
        """
        assert self.episode is not None
        env = self._environment()
        path = replace(self.episode, leaf=leaf)
        key = (self.seed, len(self.episode.contexts))
        doing = rerun(
            path,
            env,
            self._seats(),
            turn=turn,
            edit=edit,
            author=Author.TEACHER,
            key=key,
            watch=self._watch,
        )
        before = len(self.episode.contexts)
        try:
            async for _ in self._follow(doing, env):
                yield
        except Exception:
            if not any(_has_turn(c) for c in self.episode.contexts[before:]):
                del self.episode.contexts[before:]  # a path that could not begin is none
            raise
        # The record as a whole ended as its last path did.
        final = self.episode.final
        self.episode.stop = final.stop or self.episode.stop
        self.episode.answer, self.episode.error = final.answer, path.error

    async def stop(self) -> bool:
        """Stop whoever writes and every tool that runs; False where nobody did."""
        going = self._going
        if going is None or going.done():
            return False
        going.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await going
        return True

    def _environment(self) -> ToolEnvironment:
        return ToolEnvironment(self.task, self.toolbox, self.limits, seed=self.seed)

    def _seats(self) -> dict[str, Seat]:
        return {"policy": self.cast.seat}

    def _watch(self, episode: Episode, context: Context) -> None:
        now = time.monotonic()
        place = (context.number, len(context.segments) - 1)
        self.seconds.setdefault(place, now - self._last)
        self._last = now
        self._changed.set()

    async def _follow(self, doing: Awaitable[object], env: ToolEnvironment) -> AsyncIterator[None]:
        self._last = time.monotonic()
        going = self._going = asyncio.ensure_future(doing)
        try:
            yield
            while not going.done():
                await self._news(going)
                yield
            if not going.cancelled():
                going.result()
        finally:
            await self.stop()
            await env.close()

    async def _news(self, going: asyncio.Future[object]) -> None:
        """Wait until something is new, or all is over."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({going, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            self._changed.clear()


def _has_turn(context: Context) -> bool:
    """Whether it holds a turn that its parent does not."""
    own = context.segments[context.shared :]
    return any(m.action is not None for s in own for m in s.messages)
