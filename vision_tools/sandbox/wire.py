"""What passes between host and guest: frames over pipes, read by one who trusts nothing.

A frame is two lengths, a head of JSON and a body of bytes. Every length is checked before a byte
of it is kept, every wait has an end, and what the guest prints is counted while it is read.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .limits import MB, Limits

_LENGTHS = struct.Struct(">II")
_HEAD_BYTES = 1 * MB
_CHUNK = 1 << 20


class Loss(StrEnum):
    """Why a guest does not answer any more."""

    LATE = "late"
    ENDED = "ended"
    GARBLED = "garbled"
    FLOOD = "flood"
    FIGURES = "figures"
    """It sent more pictures, or larger ones, than it was allowed to."""


class GuestLost(Exception):
    """The exchange failed; the guest cannot be spoken to again."""

    def __init__(self, loss: Loss, detail: str = "") -> None:
        super().__init__(detail or str(loss))
        self.loss, self.detail = loss, detail


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one cell."""

    failed: bool
    error: str
    """The traceback of a cell that failed."""
    files: tuple[bytes, ...]
    printed: bytes


class Channel:
    """Our ends of a guest's pipes; closed by `close`.

    Args:
        inbox: Where the guest reads.
        outbox: Where its frames come out.
        printed: Where its standard output and error come out.
        limits: How much is read.
    """

    def __init__(self, inbox: int, outbox: int, printed: int, limits: Limits) -> None:
        self._fds = (inbox, outbox, printed)
        self._limits = limits
        self._heard = bytearray()
        for fd in self._fds:
            os.set_blocking(fd, False)

    def ready(self, deadline: float) -> None:
        """Wait for the guest's first frame.

        Raises:
            GuestLost: It did not come in time, or is another one.
        """
        head, _, _ = self._exchange([], deadline)
        if head != {"ready": True}:
            raise GuestLost(Loss.GARBLED, "it began with another frame")

    def ask(self, head: dict[str, object], body: Sequence[memoryview], deadline: float) -> Answer:
        """Send a cell and wait for what came of it.

        Raises:
            GuestLost: It is late, has ended, prints or sends too much, or sends what is no answer.
        """
        told = json.dumps(head).encode()
        size = sum(len(part) for part in body)
        frame = [memoryview(_LENGTHS.pack(len(told), size) + told), *body]
        got, files, printed = self._exchange(frame, deadline)
        check_answer(got, head["id"])
        sizes = got["sizes"]
        check_count(sizes, self._limits)
        if sum(sizes) != len(files):
            raise GuestLost(Loss.GARBLED, "sizes that do not add up")
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        cut = tuple(files[a : a + n] for a, n in zip(starts, sizes, strict=True))
        return Answer(bool(got["failed"]), str(got["error"]), cut, printed)

    @property
    def heard(self) -> str:
        """What was printed in an exchange that failed."""
        rest = _receive(self._fds[2], ended=b"") if self._fds else b""
        return (bytes(self._heard) + rest).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Close our ends."""
        fds, self._fds = self._fds, ()
        for fd in fds:
            os.close(fd)

    def _exchange(
        self, send: list[memoryview], deadline: float
    ) -> tuple[dict[str, object], bytes, bytes]:
        if not self._fds:
            raise GuestLost(Loss.ENDED)
        inbox, outbox, output = self._fds
        frame = Frame(self._limits)
        printed = self._heard = bytearray()
        while not frame.whole:
            writing = [inbox] if send else []
            left = time_left(deadline)
            if left <= 0:
                raise GuestLost(Loss.LATE)
            able, able_to_write, _ = select.select([outbox, output], writing, [], left)
            if able_to_write:
                _send(inbox, send)
            if output in able:
                printed += _receive(output)
                check_output(len(printed), self._limits)
            if outbox in able:
                frame.add(_receive(outbox))
        # What was printed before the answer is in the pipe by now.
        while part := _receive(output, ended=b""):
            printed += part
            check_output(len(printed), self._limits)
        return frame.head, bytes(frame.body), bytes(printed)


def time_left(deadline: float) -> float:
    """Seconds until then."""
    return deadline - time.monotonic()


class Frame:
    """A frame that comes in piece by piece; lengths are checked before they are believed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = bytearray()
        self._lengths: tuple[int, int] | None = None

    def add(self, part: bytes) -> None:
        """More bytes.

        Raises:
            GuestLost: Too long, or more than one frame.
        """
        self._bytes += part
        if self._lengths is None and len(self._bytes) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._bytes)
            check_lengths(head, body, self._limits)
            self._lengths = (head, body)
        if len(self._bytes) > _LENGTHS.size + sum(self._lengths or (_HEAD_BYTES,)):
            raise GuestLost(Loss.GARBLED, "more than one frame")

    @property
    def whole(self) -> bool:
        """Whether it is all there."""
        done = self._lengths is not None
        return done and len(self._bytes) == _LENGTHS.size + sum(self._lengths or ())

    @property
    def head(self) -> dict[str, object]:
        """The head, as JSON."""
        assert self._lengths is not None
        try:
            head = json.loads(self._bytes[_LENGTHS.size : _LENGTHS.size + self._lengths[0]])
        except (ValueError, RecursionError):
            raise GuestLost(Loss.GARBLED, "a head that is not JSON") from None
        if not isinstance(head, dict):
            raise GuestLost(Loss.GARBLED, "a head that is no object")
        return head

    @property
    def body(self) -> memoryview:
        """The bytes after the head."""
        assert self._lengths is not None
        return memoryview(self._bytes)[_LENGTHS.size + self._lengths[0] :]


def check_lengths(head: int, body: int, limits: Limits) -> None:
    """Refuse a frame by its lengths, before anything of it is kept.

    Raises:
        GuestLost: Too long.
    """
    if head > _HEAD_BYTES:
        raise GuestLost(Loss.GARBLED, "a head that is too long")
    if body > limits.result_mb * MB:
        raise GuestLost(Loss.FIGURES, f"pictures of {body} bytes, at most {limits.result_mb} MB")


def check_output(count: int, limits: Limits) -> None:
    """Refuse endless printing while it is read.

    Raises:
        GuestLost: More than a cell may print.
    """
    if count > limits.output_mb * MB:
        raise GuestLost(Loss.FLOOD, f"more than {limits.output_mb} MB printed")


def check_count(sizes: object, limits: Limits) -> None:
    """Refuse more pictures than a cell may show.

    Raises:
        GuestLost: Too many of them.
    """
    if isinstance(sizes, list) and len(sizes) > limits.figures:
        raise GuestLost(Loss.FIGURES, f"{len(sizes)} pictures, at most {limits.figures}")


def check_answer(head: dict[str, object], number: object) -> None:
    """Only an answer to this very request, and nothing in it but what belongs there.

    Raises:
        GuestLost: Another frame: forged, stale, or with keys (such as paths) that mean nothing.
    """
    if set(head) != {"id", "failed", "error", "sizes"}:
        raise GuestLost(Loss.GARBLED, "an answer with other keys")
    sizes = head["sizes"]
    numbers = isinstance(sizes, list) and all(type(n) is int and n >= 0 for n in sizes)
    if head["id"] != number or type(head["failed"]) is not bool or not numbers:
        raise GuestLost(Loss.GARBLED, "an answer to another question")
    if not isinstance(head["error"], str):
        raise GuestLost(Loss.GARBLED, "an error that is no text")


def _send(fd: int, parts: list[memoryview]) -> None:
    try:
        sent = os.write(fd, parts[0][:_CHUNK])
    except BlockingIOError:
        return
    except BrokenPipeError:
        raise GuestLost(Loss.ENDED) from None
    parts[0] = parts[0][sent:]
    if not parts[0]:
        parts.pop(0)


def _receive(fd: int, ended: bytes | None = None) -> bytes:
    """What is there now; at the end `ended`, or `GuestLost` if that is None."""
    try:
        part = os.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
    if not part:
        if ended is None:
            raise GuestLost(Loss.ENDED)
        return ended
    return part
