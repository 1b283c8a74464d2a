"""Questions opened ahead of time: decoding goes on in threads while the engine writes.

Bounded on both sides: so many threads, and so many opened questions that nobody has taken yet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from vtool.task import Task


class Ahead:
    """Opens tasks in a given order, a little earlier than they are asked for.

    Args:
        tasks: All of them; one is opened when its turn is near.
        order: Indices into `tasks` in the order in which they will be taken; an index that comes
            several times in the window is opened once.
        workers: Threads that decode.
        depth: How many places of the order beyond the one asked for may be open.
    """

    def __init__(
        self, tasks: Sequence[Task], order: Sequence[int], *, workers: int = 2, depth: int = 16
    ) -> None:
        self._tasks, self._order, self._depth = tasks, tuple(order), max(1, depth)
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="vtool-decode")
        self._open: dict[int, Future[Task]] = {}
        self._wanted: Counter[int] = Counter()
        self._next = 0

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._open.clear()

    async def take(self, place: int) -> Task:
        """The task at a place of the order; each place is taken once.

        Raises:
            Exception: What opening it raised.
        """
        self._submit(place + self._depth)
        index = self._order[place]
        future = self._open[index]
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._wanted[index] -= 1
            if not self._wanted[index]:
                del self._open[index], self._wanted[index]

    def _submit(self, upto: int) -> None:
        for index in self._order[self._next : upto + 1]:
            self._wanted[index] += 1
            if index not in self._open:
                self._open[index] = self._pool.submit(open_task, self._tasks, index)
        self._next = max(self._next, min(upto + 1, len(self._order)))


def open_task(tasks: Sequence[Task], index: int) -> Task:
    """One task, opened apart from all others, so that several threads may do so at once."""
    # A part of a file of tasks keeps its own memory of what was opened; the whole one is shared.
    return tasks[index : index + 1][0]
