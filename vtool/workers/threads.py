"""Daemon threads for tools that block: a call that never ends holds up neither run nor exit.

A thread cannot be stopped. What passes its deadline is left behind, counted, and its thread is
used no more; too many of these and the run ends loudly, since each keeps its memory. Tools that
may hang belong into a worker process (`@tool(isolated=True)`), which can be killed.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vtool.errors import VToolError
from vtool.workers.gate import Gate


class TooManyHung(VToolError, RuntimeError):
    """So many calls never ended that no more are begun."""


@dataclass(slots=True, eq=False)
class _Job:
    name: str
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    after: Callable[[], None]
    left: bool = False
    ended: bool = False


class Threads:
    """Runs blocking work on daemon threads.

    Args:
        room: Calls at once; more wait.
        max_hung: Calls left behind beyond which `TooManyHung` is raised.
    """

    def __init__(self, room: int = 32, max_hung: int = 64) -> None:
        self.max_hung = max_hung
        self._gate = Gate(room)
        self._idle: list[queue.SimpleQueue[_Job]] = []
        self._hung: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def hung(self) -> dict[str, int]:
        """Calls that passed their deadline and still run, by name."""
        with self._lock:
            return {name: count for name, count in self._hung.items() if count > 0}

    async def enter(self) -> None:
        """Wait for a place; `run` gives it back.

        Raises:
            TooManyHung: Too many calls never ended.
        """
        check_hung(self.hung, self.max_hung)
        await self._gate.enter()

    async def run(
        self, name: str, work: Callable[[], Any], after: Callable[[], None] = lambda: None
    ) -> Any:
        """Run work on a thread, once a place was had by `enter`.

        Args:
            name: Whose it is, for the count of those left behind.
            work: What to do.
            after: Called once the work has really ended, be it after everybody left.
        """
        loop = asyncio.get_running_loop()
        job = _Job(name, work, loop, loop.create_future(), after)
        self._give(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._leave(job)
            raise

    def _give(self, job: _Job) -> None:
        with self._lock:
            box = self._idle.pop() if self._idle else None
        if box is None:
            box = queue.SimpleQueue()
            # The context of the caller, as `asyncio.to_thread` gives it, goes with each job.
            threading.Thread(target=self._live, args=(box,), daemon=True, name="tool").start()
        job.work = _in_context(job.work)
        box.put(job)

    def _leave(self, job: _Job) -> None:
        with self._lock:
            if job.ended:
                return
            job.left = True
            self._hung[job.name] += 1
        self._gate.leave()
        warnings.warn(
            f"tool {job.name} still runs although nobody waits for it any more; a thread cannot "
            "be stopped: declare it with @tool(isolated=True)",
            RuntimeWarning,
            stacklevel=2,
        )

    def _live(self, box: queue.SimpleQueue[_Job]) -> None:
        while self._do(box.get()):
            with self._lock:
                self._idle.append(box)

    def _do(self, job: _Job) -> bool:
        """Run one; whether the thread may be used again."""
        result, error = None, None
        try:
            result = job.work()
        except BaseException as err:
            error = err
        with self._lock:
            job.ended = True
            if job.left:
                self._hung[job.name] -= 1
        job.after()
        if job.left:
            return False
        self._gate.leave()
        try:
            job.loop.call_soon_threadsafe(_settle, job.future, result, error)
        except RuntimeError:  # the loop is closed
            return False
        return True


def check_hung(hung: dict[str, int], most: int) -> None:
    """Refuse to begin more when too many never ended.

    Raises:
        TooManyHung: Names whose they are.
    """
    if sum(hung.values()) >= most:
        raise TooManyHung(
            f"{sum(hung.values())} calls never ended ({', '.join(sorted(hung))}): declare these "
            "tools with @tool(isolated=True), so that they can be killed"
        )


def _in_context(work: Callable[[], Any]) -> Callable[[], Any]:
    context = contextvars.copy_context()
    return lambda: context.run(work)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # which no future can hold
        error = RuntimeError("the tool raised StopIteration")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


THREADS = Threads()
"""Those of this process."""
