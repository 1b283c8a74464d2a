"""Frames over a socket or a pipe: a JSON header and raw bytes, with their lengths before them.

Both ends wait with a deadline and may be told to stop waiting. What is in a frame is nobody's
business here.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vtool.errors import VToolError

_HEAD = struct.Struct(">4sIQ")
_MAGIC = b"VTW1"
MAX_HEADER = 64 * 2**20
MAX_BODY = 4 * 2**30
_BEAT_S = 0.05
"""How often a wait looks whether anybody still wants what it waits for."""


class Late(VToolError, TimeoutError):
    """The deadline passed first."""


class Gone(VToolError, ConnectionError):
    """The other side closed, or spoke something else."""


class Unwanted(VToolError):
    """Nobody waits for the answer any more."""


class Frames:
    """Sends and receives frames.

    Args:
        inlet: File descriptor to read from.
        outlet: File descriptor to write to.
    """

    def __init__(self, inlet: int, outlet: int) -> None:
        self._inlet, self._outlet = inlet, outlet
        for fd in (inlet, outlet):
            os.set_blocking(fd, False)

    def send(
        self,
        header: object,
        buffers: Sequence[memoryview] = (),
        *,
        until: float | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send a frame.

        Args:
            header: Plain JSON.
            buffers: Raw bytes that follow it.
            until: Deadline on the monotonic clock; None for none.
            wanted: Asked now and then; False ends the wait.

        Raises:
            Late: The deadline passed.
            Gone: The other side closed.
            Unwanted: `wanted` said no.
        """
        text = json.dumps(header).encode()
        size = sum(b.nbytes for b in buffers)
        head = memoryview(_HEAD.pack(_MAGIC, len(text), size) + text)
        for part in (head, *buffers):
            rest = part
            while rest.nbytes:
                rest = rest[self._some(rest, until, wanted) :]

    def receive(
        self, *, until: float | None = None, wanted: Callable[[], bool] = lambda: True
    ) -> tuple[dict[str, Any], memoryview]:
        """Receive a frame: its header and its bytes; see `send` for the arguments.

        Raises:
            Late: The deadline passed.
            Gone: The other side closed, or spoke something else.
            Unwanted: `wanted` said no.
        """
        magic, head, body = _HEAD.unpack(self._exactly(_HEAD.size, until, wanted))
        if magic != _MAGIC or head > MAX_HEADER or body > MAX_BODY:
            raise Gone("the other side speaks something else")
        header = json.loads(bytes(self._exactly(head, until, wanted)))
        if not isinstance(header, dict):
            raise Gone("the other side speaks something else")
        return header, self._exactly(body, until, wanted)

    def _exactly(self, count: int, until: float | None, wanted: Callable[[], bool]) -> memoryview:
        # Not a bytearray: that would be filled with zeros first.
        out = memoryview(np.empty(count, np.uint8))  # type: ignore[arg-type]
        at = 0
        while at < count:
            self._ready(self._inlet, select.POLLIN, until, wanted)
            try:
                got = os.readv(self._inlet, [out[at:]])
            except BlockingIOError:
                continue
            except OSError as err:
                raise Gone("the other side closed") from err
            if got == 0:
                raise Gone("the other side closed")
            at += got
        return out

    def _some(self, data: memoryview, until: float | None, wanted: Callable[[], bool]) -> int:
        self._ready(self._outlet, select.POLLOUT, until, wanted)
        try:
            return os.write(self._outlet, data)
        except BlockingIOError:
            return 0
        except OSError as err:
            raise Gone("the other side closed") from err

    def _ready(self, fd: int, event: int, until: float | None, wanted: Callable[[], bool]) -> None:
        # Also where there is something: bytes that trickle in must not outlive the deadline.
        if until is not None and time.monotonic() >= until:
            raise Late("the deadline passed")
        poll = select.poll()
        poll.register(fd, event)
        while not poll.poll(_BEAT_S * 1000):
            if until is not None and time.monotonic() >= until:
                raise Late("the deadline passed")
            if not wanted():
                raise Unwanted("nobody waits for it")
