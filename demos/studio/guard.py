"""Who may ask: known hosts, own origin, a password compared in constant time."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .options import LOOPBACK, Options

Scope = MutableMapping[str, Any]
NAME = "vtool"
ASKED: Final = "vtool.asked"
"""Key of a request's scope: when it came, on the monotonic clock."""


EVERYWHERE: Final = ("0.0.0.0", "::", "")
"""Addresses to listen on that are no name to ask for."""


def asked_at(request: Any) -> float:
    """When a request came, before it waited for its turn; now, where nobody noted it."""
    scope = getattr(getattr(request, "request", None), "scope", {})
    return float(scope.get(ASKED, time.monotonic()))


def known_hosts(options: Options) -> frozenset[str]:
    """Names under which this studio may be asked for."""
    own = () if options.host in EVERYWHERE else (options.host,)
    return frozenset(h.lower() for h in (*LOOPBACK, *own, *options.hosts))


def check_host(host: str, hosts: Iterable[str]) -> bool:
    """Whether a request's Host is one of ours; a name that resolves to us is not enough."""
    return _name(f"//{host}") in set(hosts)


def check_origin(origin: str | None, host: str) -> bool:
    """Whether a request comes from our own page, or from a program, which names no origin."""
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address at all
        return False


def check_password(name: str, given: str, wanted: str) -> bool:
    """Compare without telling by the time how much of it is right."""
    same = hmac.compare_digest(_bytes(given), _bytes(wanted))
    return hmac.compare_digest(_bytes(name), _bytes(NAME)) and same


def _bytes(text: str) -> bytes:
    """Half a surrogate pair is a wrong password, not an error of the server."""
    return text.encode("utf-8", "surrogatepass")


POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        # The page of Gradio starts from a script of its own in the page, and draws in workers.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
"""Where the page may ask for anything: nowhere but here, whatever words it is made to show."""
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(slots=True)
class HostGuard:
    """Answers 421 to foreign hosts and 403 to foreign origins, before anything else runs.

    What is answered carries `POLICY`: Gradio shows messages as markup, and a picture in one must
    not tell another machine that it was seen.

    Args:
        app: What comes after.
        hosts: Names that are ours.
    """

    app: Callable[..., Awaitable[None]]
    hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get("host", "")
        if not check_host(host, self.hosts):
            await _refuse(send, 421, "this host name is not served here")
        elif not check_origin(headers.get("origin"), host):
            await _refuse(send, 403, "another page may not ask here")
        else:
            # A question waits in a queue: Stop has to know whether it was asked before.
            await self.app({**scope, ASKED: time.monotonic()}, receive, _with_headers(send))


def _with_headers(send: Any) -> Any:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sent


async def _refuse(send: Any, status: int, words: str) -> None:
    body = words.encode()
    head = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
