"""The worker processes of a toolbox: one for each isolated tool and its settings."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from vtool.tool import Tool
from vtool.workers.process import Worker, WorkerOptions
from vtool.workers.reference import reference


class Workers:
    """Starts workers when they are first called; one loaded model for each tool and setting.

    Args:
        options: How they are kept.
    """

    def __init__(self, options: WorkerOptions | None = None) -> None:
        self.options = options or WorkerOptions()
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [w.pid for w in self._workers.values() if w.pid is not None]

    def takes(self, tool: Tool) -> bool:
        """Whether the tool's calls run here: it is isolated and another interpreter has it.

        Raises:
            NotImportable: It is isolated, and no other interpreter could find it.
        """
        return tool.spec.isolated and reference(tool) is not None

    async def call(self, tool: Tool, values: Mapping[str, Any], seconds: float) -> Any:
        """Carry out a call; cancelled, its process is stopped.

        Args:
            tool: An isolated tool.
            values: Arguments of its function.
            seconds: Deadline, from when the worker takes the call up.

        Raises:
            ModelFault: `timeout`, `tool_crashed`, or what the tool refused.
            ToolBroken: The tool broke.
        """
        sent = {k: v for k, v in values.items() if k != tool.settings_arg}
        return await asyncio.wrap_future(self._worker(tool).submit(sent, seconds))

    async def close(self) -> None:
        """End them all."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            await asyncio.to_thread(worker.close)

    def _worker(self, tool: Tool) -> Worker:
        where = reference(tool)
        assert where is not None
        settings = _plain(tool)
        key = json.dumps([where, settings], sort_keys=True)
        with self._lock:
            if key not in self._workers:
                batch = tool.spec.batch if tool.batched is not None else 1
                self._workers[key] = Worker(
                    tool.spec.name, where, settings, max(1, batch), self.options
                )
            return self._workers[key]


def _plain(tool: Tool) -> dict[str, Any]:
    """Settings as JSON; what is no JSON (a path) goes as its text."""
    if tool.settings is None:
        return {}
    body = asdict(cast(Any, tool.settings))
    return cast(dict[str, Any], json.loads(json.dumps(body, default=str)))
