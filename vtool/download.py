"""Downloads that end: a cap of bytes, a deadline for all of it, taken up where they broke off."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtool.errors import VToolError

_CHUNK = 1 << 18
_PATIENCE_S = 30.0
"""Longest silence of a server."""
_TRIES = 4
_WAIT_S = 0.5

Progress = Callable[[int, int], None]
"""Called with bytes that are here, and bytes in all."""


class FetchError(VToolError, RuntimeError):
    """Something that could not be fetched, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment after which nothing is begun."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds that remain.

        Raises:
            FetchError: None do.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise FetchError(
                "the time for fetching is over; run the same line again: it goes on from here"
            )
        return left


def download(
    address: str, path: Path, *, size: int, deadline: Deadline, progress: Progress | None = None
) -> None:
    """Bring a file of known size; what is there already of it is kept.

    Args:
        address: An http or https address; a name and password in it are not sent.
        path: Where it goes; holds what came so far, also after a failure.
        size: Bytes that it must have: nothing beyond is read.
        deadline: For all of it.
        progress: Told how far it is.

    Raises:
        FetchError: Refused, broken off again and again, of another size, or too slow.
    """
    _check_scheme(address)
    address = _plain(address)
    failure = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(min(_WAIT_S * 2**attempt, deadline.left()))
        try:
            _go_on(address, path, size, deadline, progress)
        except urllib.error.HTTPError as err:
            if err.code < 500 and err.code not in (408, 429):
                raise FetchError(f"{address} answered {err.code} {err.reason}") from err
            failure = f"it answered {err.code}"
        except (OSError, http.client.HTTPException) as err:
            failure = str(getattr(err, "reason", None) or err) or type(err).__name__
        if _length(path) == size:
            return
        failure = failure or f"the connection ended at {_length(path)} of {size} bytes"
    raise FetchError(f"could not fetch {address}: {failure}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        FetchError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as err:
        raise FetchError(f"cannot read {path}: {err.strerror}") from err
    return digest.hexdigest()


def _go_on(
    address: str, path: Path, size: int, deadline: Deadline, progress: Progress | None
) -> None:
    start = _length(path)
    if start > size:
        path.unlink()
        start = 0
    if start == size:
        return
    request = urllib.request.Request(address, headers={"Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _opener().open(request, timeout=min(_PATIENCE_S, deadline.left())) as answer:
        resumed = start and answer.status == 206 and _first_byte(answer) == start
        here = start if resumed else 0
        _check_length(answer, address, size - here)
        with path.open("ab" if resumed else "wb") as file:
            while block := answer.read1(min(_CHUNK, size + 1 - here)):
                here += len(block)
                if here > size:
                    raise FetchError(f"{address} is longer than the expected {size} bytes")
                file.write(block)
                if progress:
                    progress(here, size)
                deadline.left()


def _check_length(answer: Any, address: str, expected: int) -> None:
    told = answer.headers.get("Content-Length", "")
    if told.isdigit() and int(told) != expected:
        raise FetchError(f"{address} has another size than expected: {told} bytes, not {expected}")


def _first_byte(answer: Any) -> int:
    """Where a partial answer begins; -1 where it does not say so."""
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https, through the user's proxy, and nothing else (no files, no ftp)."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _check_scheme(address: str) -> None:
    scheme = urllib.parse.urlsplit(address).scheme
    if scheme not in ("http", "https"):
        raise FetchError(f"expected an http or https address, got {_plain(address)!r}")


def _plain(address: str) -> str:
    """An address without a user's name and password."""
    parts = urllib.parse.urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
