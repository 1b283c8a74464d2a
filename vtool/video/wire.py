"""What parent and worker say to one another: a JSON object and raw bytes. Nothing is pickled."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct("<II")
MAX_JSON = 1 << 30
"""Tables of very long files are long; a header that says more than this is not ours."""


class Silence(Exception):
    """The other side did not speak in time."""


class Hangup(Exception):
    """The other side is gone."""


def send(
    fd: int, body: dict[str, Any], until: float | None = None, blob: bytes | memoryview = b""
) -> None:
    """Write one message, whole.

    Raises:
        Silence: The other side did not take it in time (`until`, on a pipe that does not block).
    """
    text = json.dumps(body).encode()
    _write(fd, _HEAD.pack(len(text), len(blob)) + text, until)
    _write(fd, blob, until)


def _write(fd: int, data: bytes | memoryview, until: float | None) -> None:
    view = memoryview(data).cast("B")
    while view:
        if until is not None:
            _wait(fd, select.POLLOUT, until)
        view = view[os.write(fd, view) :]


def _wait(fd: int, event: int, until: float) -> None:
    # Not `select`, which cannot name descriptors above 1023.
    waiting = select.poll()
    waiting.register(fd, event)
    left = until - time.monotonic()
    if left <= 0 or not waiting.poll(left * 1000):
        raise Silence


def receive(fd: int, until: float | None) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Read one message.

    Args:
        fd: A pipe.
        until: Time of `time.monotonic` at which to give up; None for never.

    Returns:
        The object, and the bytes that came with it: uint8 (N,), read-only.

    Raises:
        Silence: It did not come in time.
        Hangup: The pipe was closed.
    """
    text_size, blob_size = _HEAD.unpack(_read(fd, _HEAD.size, until).tobytes())
    if text_size > MAX_JSON:
        raise Hangup("no message of ours")
    body = json.loads(_read(fd, text_size, until).tobytes())
    blob = _read(fd, blob_size, until)
    blob.flags.writeable = False
    return body, blob


def _read(fd: int, count: int, until: float | None) -> NDArray[np.uint8]:
    data = np.empty(count, np.uint8)
    view = data.data
    while view:
        if until is not None:
            _wait(fd, select.POLLIN, until)
        got = os.readv(fd, [view])
        if got == 0:
            raise Hangup
        view = view[got:]
    return data
