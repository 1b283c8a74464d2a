"""A worker process as its parent sees it: calls wait here, are sent in batches, and come back.

The process is killed at the deadline, when it breaks, and when nobody wants its answer; the next
call starts another. One thread owns the line, so calls may come from any event loop.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from vtool.errors import FaultCode, ModelFault
from vtool.media import Image
from vtool.value_wire import Letter, read, write
from vtool.workers.breaker import ToolBroken
from vtool.workers.frames import Frames, Gone, Late, Unwanted

_REMEMBERED = 4096
"""Digests of pictures that a worker is believed to hold; it says so where it does not."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How workers are kept.

    Args:
        start_s: An interpreter with its imports (and what the tool warms) has so long to come up.
        idle_s: A worker without calls ends after so long.
        memory_bytes: Bound on a worker's address space; None for none.
    """

    start_s: float = 120.0
    idle_s: float = 600.0
    memory_bytes: int | None = None


@dataclass(slots=True, eq=False)
class _Item:
    values: Mapping[str, Any]
    seconds: float
    future: Future[Any] = field(default_factory=Future)

    @property
    def wanted(self) -> bool:
        return not self.future.cancelled()

    def settle(self, result: object = None, error: BaseException | None = None) -> None:
        # Whoever waited may leave at any moment.
        with contextlib.suppress(InvalidStateError):
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)


class Worker:
    """One tool under one setting, in a process of its own.

    Args:
        name: The tool's name, for messages.
        where: Where the process finds it; see `vtool.workers.reference`.
        settings: Its settings as plain values.
        batch: Calls that it takes at once.
        options: How it is kept.
    """

    def __init__(
        self,
        name: str,
        where: Mapping[str, str],
        settings: Mapping[str, Any],
        batch: int,
        options: WorkerOptions,
    ) -> None:
        self.name, self._where, self._settings = name, dict(where), dict(settings)
        self._batch, self._options = batch, options
        self._waiting: deque[_Item] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._frames: Frames | None = None
        self._sent: OrderedDict[str, None] = OrderedDict()
        self.starts = 0
        _ALIVE.add(self)

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        process = self._process
        return None if process is None else process.pid

    def submit(self, values: Mapping[str, Any], seconds: float) -> Future[Any]:
        """Queue a call.

        Args:
            values: Arguments of the tool's function, settings left out.
            seconds: Deadline, from when the call is taken up.

        Returns:
            The tool's result, a `ModelFault` (`timeout`, `tool_crashed` or the tool's own) or
            `ToolBroken`. Cancelled, it takes the process with it if nobody else waits for it.
        """
        item = _Item(values, seconds)
        with self._news:
            if self._closed:
                raise ToolBroken(f"the workers of {self.name} are closed")
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._live, daemon=True, name=f"worker {self.name}"
                )
                self._thread.start()
            self._news.notify()
        return item.future

    def close(self) -> None:
        """End the process; calls that wait are broken off."""
        with self._news:
            self._closed = True
            self._news.notify()
            thread = self._thread
        self._signal()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _live(self) -> None:
        while True:
            with self._news:
                if not self._waiting and not self._closed:
                    self._news.wait(self._options.idle_s)
                if self._closed or not self._waiting:
                    self._thread = None
                    left, self._waiting = list(self._waiting), deque()
                    self._kill()
                    break
                count = min(self._batch, len(self._waiting))
                items = [self._waiting.popleft() for _ in range(count)]
            self._serve([i for i in items if i.wanted])
        for item in left:
            item.settle(error=ToolBroken(f"the workers of {self.name} are closed"))

    def _serve(self, items: Sequence[_Item]) -> None:
        if not items:
            return
        try:
            self._hand_out(items, self._ask(items))
        except (Late, Gone) as err:
            code = self._kill()
            if len(items) > 1:
                # Whose fault it was shows when each is alone.
                for item in items:
                    self._serve([item] if item.wanted else [])
                return
            items[0].settle(error=self._fault(err, code, items[0].seconds))
        except Unwanted:
            self._kill()
        except Exception as err:
            self._kill()
            for item in items:
                item.settle(error=err if isinstance(err, ToolBroken) else _as_broken(err))

    def _fault(self, err: Exception, code: int | None, seconds: float) -> Exception:
        if self._closed:
            return ToolBroken(f"the workers of {self.name} are closed")
        if isinstance(err, Late):
            return ModelFault(FaultCode.TIMEOUT, f"{self.name} did not finish within {seconds:g} s")
        fault = ModelFault(FaultCode.TOOL_CRASHED, f"{self.name} crashed on this call")
        fault.__cause__ = Gone(f"its process ended with {code}")
        return fault

    def _ask(self, items: Sequence[_Item]) -> list[dict[str, Any]]:
        frames = self._ready()
        until = time.monotonic() + items[0].seconds
        calls = [dict(i.values) for i in items]
        letter = write(calls, held=self._sent, digests=True)
        reply, body, known = self._exchange(frames, letter, until, items)
        if "need" in reply:
            self._sent.clear()
            letter = write(calls, digests=True)
            reply, body, known = self._exchange(frames, letter, until, items)
        results, _ = read(reply, body, known=known)
        if not isinstance(results, list) or len(results) != len(items):
            raise Gone("the worker answered something else")
        return results

    def _exchange(
        self, frames: Frames, letter: Letter, until: float, items: Sequence[_Item]
    ) -> tuple[dict[str, Any], memoryview, list[Any]]:
        def wanted() -> bool:
            return not self._closed and any(i.wanted for i in items)

        frames.send(letter.header, letter.buffers, until=until, wanted=wanted)
        for value in letter.values:
            if isinstance(value, Image):
                self._sent[value.digest] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        reply, body = frames.receive(until=until, wanted=wanted)
        return reply, body, letter.values

    def _hand_out(self, items: Sequence[_Item], results: Sequence[Mapping[str, Any]]) -> None:
        for item, result in zip(items, results, strict=True):
            if "ok" in result:
                item.settle(result["ok"])
            elif "refused" in result:
                item.settle(error=result["refused"])
            else:
                item.settle(error=ToolBroken(f"tool {self.name} broke: {result['broken']}"))

    def _ready(self) -> Frames:
        """The process, started if there is none.

        Raises:
            ToolBroken: It does not come up.
        """
        if self._frames is not None and self._process and self._process.poll() is None:
            return self._frames
        self._kill()
        self.starts += 1
        self._process, self._line = start_interpreter()
        frames = Frames(self._line.fileno(), self._line.fileno())
        until = time.monotonic() + self._options.start_s
        begin = {
            "tool": self._where,
            "settings": self._settings,
            "memory_bytes": self._options.memory_bytes,
        }
        try:
            frames.send(begin, until=until, wanted=lambda: not self._closed)
            told, _ = frames.receive(until=until, wanted=lambda: not self._closed)
        except (Late, Gone) as err:
            raise ToolBroken(f"the worker of {self.name} did not come up: {err}") from err
        if "ready" not in told:
            raise ToolBroken(f"the worker of {self.name} did not come up: {told.get('failed')}")
        self._frames = frames
        return frames

    def _signal(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            # The whole group: what the tool started goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _kill(self) -> int | None:
        """End the process now; its exit code."""
        self._frames = None
        self._sent.clear()
        self._signal()
        process, self._process = self._process, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        return None if process is None else process.wait()


def start_interpreter() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A fresh interpreter with our path, few threads, and the other end of a socket."""
    path = os.pathsep.join(p for p in sys.path if p)
    environ = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    # A socket rather than pipes: large pictures pass in fewer turns.
    ours, theirs = socket.socketpair()
    with theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vtool.workers.main"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            env=environ,
            start_new_session=True,
        )
    return process, ours


def _as_broken(err: Exception) -> ToolBroken:
    broken = ToolBroken(f"a call could not be handed over: {type(err).__name__}: {err}")
    broken.__cause__ = err
    return broken


_ALIVE: weakref.WeakSet[Worker] = weakref.WeakSet()


def _end_all() -> None:
    for worker in list(_ALIVE):
        worker._signal()


atexit.register(_end_all)
