"""Worker processes, seen from the run: asked, waited for, and killed when they are late."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, require
from vtool.video import wire
from vtool.video.errors import REASONS, ReaderError, VideoError

WORKERS = 4
"""At most so many; the second starts only while the first is busy with another file."""
ATTEMPTS = 2
"""The first death may be the doing of another file, or of whoever kills processes."""
_PIPE_BYTES = 1 << 20


class WorkerDied(Exception):
    """The process went away in the middle of a request.

    Args:
        code: How it ended, as `subprocess` has it: negative for a signal.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


class Worker:
    """One child process."""

    def __init__(self) -> None:
        require("av", "video")
        # -P, and our own path: the folder one stands in must not bring modules along.
        command = [sys.executable, "-P", "-m", "vtool.video.worker"]
        path = os.pathsep.join(p for p in sys.path if p)
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to, self._from = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._to, False)
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._from, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.path = ""
        """The file it read last."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def ask(
        self, request: dict[str, Any], seconds: float
    ) -> Iterator[tuple[dict[str, Any], NDArray[np.uint8]]]:
        """Send a request and give its answers as they come.

        Raises:
            VideoError: It refused, or was late and is gone.
            WorkerDied: It is gone by itself.
        """
        until = time.monotonic() + seconds
        self.path = request["path"]
        whole = False
        try:
            wire.send(self._to, {**request, "seconds": seconds}, until)
            while True:
                body, blob = wire.receive(self._from, until)
                if "refused" in body or "done" in body:
                    whole = True
                    break
                yield body, blob
        except wire.Silence:
            raise VideoError(
                f"the video was not read within {seconds:g} s", FaultCode.TIMEOUT
            ) from None
        except (wire.Hangup, OSError):
            raise WorkerDied(self._end()) from None
        finally:
            # Late, broken, or left in the middle of an answer: its next words would be old ones.
            if not whole:
                self.kill()
        if "refused" in body:
            raise VideoError(REASONS.get(body["refused"], REASONS["undecodable"]))

    def _end(self) -> int | None:
        """How it ended, where it did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        return self._child.returncode

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Pool:
    """Workers on demand. A file goes to the worker that has it open, or to an idle one.

    Args:
        most: How many processes there may be.
    """

    def __init__(self, most: int = WORKERS) -> None:
        self._most = most
        self._idle: list[Worker] = []
        self._count = 0
        self._owner = os.getpid()
        self._change = threading.Condition()
        atexit.register(self.close)

    def ask(
        self, request: dict[str, Any], seconds: float
    ) -> list[tuple[dict[str, Any], NDArray[np.uint8]]]:
        """All answers to one request; a worker that dies is replaced once.

        Raises:
            VideoError: See `Worker.ask`; also where the file ends every worker that reads it.
            ReaderError: No worker came free in time, or workers are killed from outside.
        """
        until = time.monotonic() + seconds
        code: int | None = None
        for _ in range(ATTEMPTS):
            left = max(until - time.monotonic(), 0.0)
            worker = self._take(str(request["path"]), left)
            try:
                return list(worker.ask(request, left))
            except WorkerDied as died:
                code = died.code
            finally:
                self._give(worker)
        if code == -signal.SIGKILL:  # a decoder cannot do that; an operator or the kernel can
            raise ReaderError(
                f"{ATTEMPTS} processes that read this video were killed from outside: memory of "
                "the machine is short, or somebody ends them"
            )
        raise VideoError("the video broke its decoder: it is damaged or hostile")

    def close(self) -> None:
        """End all idle workers."""
        if os.getpid() != self._owner:
            return
        with self._change:
            while self._idle:
                self._idle.pop().kill()
                self._count -= 1

    @property
    def pids(self) -> list[int]:
        """Processes that wait for work."""
        return [w.pid for w in self._idle]

    def _take(self, path: str, seconds: float) -> Worker:
        until = time.monotonic() + seconds
        with self._change:
            if os.getpid() != self._owner:
                # A fork shares the pipes of its parent: it must not speak on them.
                self._idle, self._count, self._owner = [], 0, os.getpid()
            while not self._idle and self._count >= self._most:
                if not self._change.wait(until - time.monotonic()):
                    raise ReaderError(
                        f"all {self._most} video workers were busy for {seconds:.1f} s: play fewer "
                        "episodes at once, or allow more seconds"
                    )
            known = [w for w in self._idle if w.path == path]
            if self._idle and (known or self._count >= self._most):
                worker = (known or self._idle)[0]
                self._idle.remove(worker)
                return worker
            if self._idle:
                return self._idle.pop()
            self._count += 1
        try:
            return Worker()
        except BaseException:
            self._lost()
            raise

    def _give(self, worker: Worker) -> None:
        if not worker.alive:
            self._lost()
            return
        with self._change:
            self._idle.append(worker)
            self._change.notify()

    def _lost(self) -> None:
        with self._change:
            self._count -= 1
            self._change.notify()


_shared: list[Pool] = []
_making = threading.Lock()


def shared_pool() -> Pool:
    """The pool of this process."""
    with _making:
        if not _shared:
            _shared.append(Pool())
        return _shared[0]
