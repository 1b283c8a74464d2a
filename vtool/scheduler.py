"""Many episodes at once: request-level concurrency, no lock-step.

In an engine's synchronous mode a batch is a function of the episodes' keys and turns only: the
engine waits until every live episode waits for it. Then runs repeat bit for bit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Barrier(Protocol):
    """An engine that wants to know how many episodes may still ask it."""

    def participants(self, count: int) -> AbstractContextManager[Any]:
        """Announce `count` episodes for the duration of the context."""
        ...

    def leave(self) -> None:
        """One of them will not ask again."""
        ...


async def run_all(
    jobs: Sequence[Callable[[], Awaitable[T]]],
    *,
    engine: object = None,
    concurrency: int = 0,
) -> list[T]:
    """Run jobs, at most `concurrency` at once, and give their results in order.

    Args:
        jobs: Each plays one episode when called.
        engine: What they all ask; told of their number if it is a `Barrier`.
        concurrency: How many at once; 0 means all.

    Raises:
        Exception: The first failure of a job; the others are cancelled.
    """
    workers = min(concurrency or len(jobs), len(jobs))
    barrier = engine if isinstance(engine, Barrier) else None
    results: dict[int, T] = {}
    queue = iter(enumerate(jobs))

    async def work() -> None:
        try:
            for index, job in queue:
                results[index] = await job()
        finally:
            if barrier is not None:
                barrier.leave()

    with barrier.participants(workers) if barrier is not None else nullcontext():
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
    return [results[i] for i in range(len(jobs))]
