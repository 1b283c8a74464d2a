"""One http request over a connection to a checked address, within a deadline and a size."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from vtool.public_address import FetchError, Target

_CHUNK = 65_536
_REDIRECTS = (301, 302, 303, 307, 308)


class Clock:
    """One deadline; monotonic, so that setting the machine's time changes nothing."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain.

        Raises:
            FetchError: None.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchError("deadline passed")
        return left


class _Reader(io.RawIOBase):
    """Reads a socket; every wait ends at the deadline, however slowly bytes drip."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._sock, self._clock = sock, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._sock.settimeout(self._clock.left())
        return self._sock.recv_into(cast(memoryview, buffer))


@dataclass(frozen=True, slots=True)
class _Timed:
    """A socket as `http.client` reads it."""

    sock: socket.socket
    clock: Clock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self.sock, self.clock))


def get(
    target: Target,
    addresses: Sequence[str],
    clock: Clock,
    *,
    max_bytes: int,
    proxy: str | None = None,
    context: ssl.SSLContext | None = None,
) -> tuple[bytes, str | None]:
    """One request to a checked address.

    Args:
        target: What is asked for.
        addresses: Where to dial, checked; the name is not asked again.
        clock: The deadline.
        max_bytes: Of the body, as sent and as unpacked.
        proxy: ``host:port``, if one is used.
        context: For https; verifies certificates and names by default.

    Returns:
        The body, and where the server sends on to instead.

    Raises:
        FetchError: No success, too large, or too late.
        OSError, http.client.HTTPException: The connection failed or broke.
    """
    if proxy is not None:
        sock = _tunnel(target, addresses[0], proxy, clock)
    else:
        sock = dial(addresses, target.port, clock)
    try:
        if target.scheme == "https":
            sock.settimeout(clock.left())
            secure = context or ssl.create_default_context()
            sock = secure.wrap_socket(sock, server_hostname=target.host)
        _send(sock, clock, _request(target))
        response = _response(sock, clock, "GET")
        if response.status in _REDIRECTS:
            return b"", _location(response)
        if response.status != 200:
            raise FetchError(f"server answered {response.status}")
        return _body(response, max_bytes), None
    finally:
        sock.close()


def dial(addresses: Sequence[str], port: int, clock: Clock) -> socket.socket:
    """Connect to the first of the checked addresses that answers.

    Raises:
        FetchError: None does in time.
    """
    for at, address in enumerate(addresses):
        try:
            # A share each, so that one dead address does not use up all the time.
            return socket.create_connection((address, port), clock.left() / (len(addresses) - at))
        except OSError:
            continue
    clock.left()
    raise FetchError("server could not be reached")


def _tunnel(target: Target, address: str, proxy: str, clock: Clock) -> socket.socket:
    """Through a proxy that people chose; it too is told the checked address, not the name."""
    host, _, port = proxy.rpartition(":")
    sock = socket.create_connection((host.strip("[]"), int(port)), clock.left())
    where = f"[{address}]:{target.port}" if ":" in address else f"{address}:{target.port}"
    try:
        _send(sock, clock, f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("ascii"))
        if _response(sock, clock, "CONNECT").status != 200:
            raise FetchError("proxy refused to connect")
    except BaseException:
        sock.close()
        raise
    return sock


def _request(target: Target) -> bytes:
    lines = (
        f"GET {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        "User-Agent: vtool",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _send(sock: socket.socket, clock: Clock, data: bytes) -> None:
    sock.settimeout(clock.left())
    sock.sendall(data)


def _response(sock: socket.socket, clock: Clock, method: str) -> http.client.HTTPResponse:
    timed = cast(socket.socket, _Timed(sock, clock))
    response = http.client.HTTPResponse(timed, method=method)
    response.begin()
    return response


def _location(response: http.client.HTTPResponse) -> str:
    onward = response.getheader("Location")
    if not onward:
        raise FetchError("server redirects to nowhere")
    return onward


def _body(response: http.client.HTTPResponse, most: int) -> bytes:
    told = response.length
    check_size(told or 0, most)
    unpack = _Unpacker((response.getheader("Content-Encoding") or "identity").strip().lower())
    out, sent = bytearray(), 0
    while chunk := response.read1(_CHUNK):
        sent += len(chunk)
        check_size(sent, most)
        out += unpack.feed(chunk, most + 1 - len(out))
        check_size(len(out), most)
    if fell_short(sent, told) or not unpack.whole:
        raise FetchError("server broke off")
    return bytes(out)


def fell_short(sent: int, told: int | None) -> bool:
    """Whether fewer bytes came than the server said."""
    return told is not None and sent < told


def check_size(size: int, most: int) -> None:
    """Seen while it streams, and before that where the server says it.

    Raises:
        FetchError: More than allowed.
    """
    if size > most:
        raise FetchError(f"body is larger than the {most} bytes allowed")


class _Unpacker:
    """Undoes a content coding, never by more than the room there is: a bomb shows, and no more."""

    def __init__(self, coding: str) -> None:
        if coding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise FetchError("server packs the body in a way that was not asked for")
        self._undo = None if coding == "identity" else zlib.decompressobj(wbits=47)

    def feed(self, chunk: bytes, room: int) -> bytes:
        """What these bytes unpack to, cut at the room."""
        if self._undo is None:
            return chunk
        try:
            return self._undo.decompress(chunk, room)
        except zlib.error as err:
            raise FetchError("body is damaged") from err

    @property
    def whole(self) -> bool:
        """Whether the packed body ended where it should."""
        return self._undo is None or (self._undo.eof and not self._undo.unused_data)
