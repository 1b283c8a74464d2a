"""Results kept by content, within a bound of bytes; equal calls at one time are made once."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from vtool.geometry import Mask
from vtool.media import Clip, Image
from vtool.observation import Observation
from vtool.store import Cloud, DepthMap, Table, Value
from vtool.video.source import Video

_OVERHEAD = 1024
"""Bytes that an entry costs beside what it holds."""


class _Flight:
    """A call that is being made, and how many wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[Observation]) -> None:
        self.task, self.waiting = task, 0


class ResultCache:
    """Least recently used results go first.

    Args:
        max_bytes: Bound on what is held; a result that is larger alone is not kept.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._held: OrderedDict[str, tuple[Observation, int]] = OrderedDict()
        self._flights: dict[tuple[int, str], _Flight] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    async def get(
        self, key: str, make: Callable[[], Coroutine[Any, Any, Observation]]
    ) -> tuple[Observation, bool]:
        """The result of that key, made if it is not held.

        Args:
            key: Content of the call.
            make: Makes it; whoever asks meanwhile in the same loop waits for this one. It is
                cancelled when the last of them leaves.

        Returns:
            The result, and whether it was there (or on its way) already.
        """
        held = self._look(key)
        if held is not None:
            return held, True
        at = (id(asyncio.get_running_loop()), key)
        flight = self._flights.get(at)
        joined = flight is not None
        if flight is None:
            flight = self._flights[at] = _Flight(asyncio.ensure_future(make()))
            flight.task.add_done_callback(lambda task: self._land(at, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task), joined
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(at, None)
                flight.task.cancel()

    def _look(self, key: str) -> Observation | None:
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def _land(self, at: tuple[int, str], task: asyncio.Task[Observation]) -> None:
        flight = self._flights.get(at)
        if flight is not None and flight.task is task:
            del self._flights[at]
        if not task.cancelled() and task.exception() is None:
            self._keep(at[1], task.result())

    def _keep(self, key: str, seen: Observation) -> None:
        size = observation_bytes(seen)
        with self._lock:
            if key in self._held or size > self.max_bytes:
                return
            self._held[key] = (seen, size)
            self.held_bytes += size
            while self.held_bytes > self.max_bytes:
                _, (_, old) = self._held.popitem(last=False)
                self.held_bytes -= old


def observation_bytes(seen: Observation) -> int:
    """What an observation keeps in memory, what it was made from included."""
    things: list[Value | None] = [*seen.values, *(f.of for f in seen.found)]
    things += [way.of for ways in seen.ways for way in ways]
    distinct = {id(t): t for t in things if t is not None}
    return _OVERHEAD + len(seen.text) + sum(value_bytes(t) for t in distinct.values())


def value_bytes(value: Value) -> int:
    """Bytes of a value's content."""
    if isinstance(value, Image):
        return int(value.pixels.nbytes)
    if isinstance(value, Clip):
        return sum(int(f.pixels.nbytes) for f in value.frames)
    if isinstance(value, Table):
        return sum(len(str(row)) for row in value.rows)
    if isinstance(value, Video):
        return 0  # its frames are read when they are asked for, and kept elsewhere
    array = {Mask: "cells", DepthMap: "values", Cloud: "points"}[type(value)]
    return int(getattr(value, array).nbytes)
