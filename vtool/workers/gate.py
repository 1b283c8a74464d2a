"""How many may do something at once, over all event loops of the process."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Self


class _Waiter:
    """One who waits, in its own loop."""

    __slots__ = ("future", "granted", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.granted = False


class Gate:
    """A semaphore that may be awaited in any event loop; first come, first served.

    Args:
        room: How many may pass before one has left.
    """

    def __init__(self, room: int) -> None:
        self._free = room
        self._waiters: deque[_Waiter] = deque()
        self._lock = threading.Lock()

    async def enter(self) -> None:
        """Wait for a place."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            waiter = _Waiter()
            self._waiters.append(waiter)
        try:
            await waiter.future
        except BaseException:
            with self._lock:
                if not waiter.granted:
                    self._waiters.remove(waiter)
            if waiter.granted:
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the next; may be called from any thread."""
        with self._lock:
            while self._waiters:
                waiter = self._waiters.popleft()
                try:
                    waiter.loop.call_soon_threadsafe(_grant, waiter.future)
                except RuntimeError:  # its loop is closed: it waits no more
                    continue
                waiter.granted = True
                return
            self._free += 1

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


def _grant(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
