"""Several paths that an engine in synchronous mode must know of, at once.

Whoever runs a program announced one participant for it. While several of its paths may ask, the
others are announced here; each leaves as soon as it will not ask again in this round, and the
last one's place stays with the program, so that no wave begins before the program's next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import nullcontext
from typing import Any

from vtool.scheduler import Barrier


async def side_by_side(engine: object, jobs: Sequence[Awaitable[Any]]) -> None:
    """Run jobs at once until all are done.

    Args:
        engine: What they ask; told of their number if it is a `Barrier`.
        jobs: Each of one path.

    Raises:
        Exception: The first failure of a job; the others are cancelled.
    """
    barrier = engine if isinstance(engine, Barrier) else None
    left = len(jobs)
    with barrier.participants(max(0, left - 1)) if barrier else nullcontext() as party:

        async def one(job: Awaitable[Any]) -> None:
            nonlocal left
            try:
                await job
            finally:
                left -= 1
                if left and party is not None:
                    party.leave()

        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(one(job))
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
