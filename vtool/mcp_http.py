"""The MCP server over HTTP: on the loopback, with a token, and for hosts and pages that it knows.

A page in a browser can make requests to the loopback, so an unknown Host or Origin is refused
before anything is read, and every request needs the bearer token. Needs the extra `mcp`.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from vtool.errors import VToolError, require
from vtool.mcp_server import ServerOptions, make_server
from vtool.toolbox import Toolbox

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_App = Callable[[Any, Any, Any], Awaitable[None]]


class Guard:
    """Refuses requests of unknown hosts and pages, and those without the token.

    Args:
        app: What it guards.
        token: The bearer token.
        hosts: Names under which the server may be asked for, with or without a port.
    """

    def __init__(self, app: _App, token: str, hosts: Collection[str]) -> None:
        self._app, self._token, self._hosts = app, token, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing else is served, and nothing passes unasked
            await send({"type": "websocket.close", "code": 1008})
            return
        status = self.verdict(
            [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        )
        if status is None:
            await self._app(scope, receive, send)
            return
        extra = [(b"www-authenticate", b"Bearer")] if status == 401 else []
        headers = [(b"content-length", b"0"), *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def verdict(self, headers: list[tuple[str, str]]) -> int | None:
        """The status with which to refuse a request; None where it may pass."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value)
        host, origin = found.get("host", []), found.get("origin", [])
        if len(host) != 1 or _name(host[0]) not in self._hosts:
            return 421
        if origin and not all(self._is_ours(o) for o in origin):
            return 403
        given = found.get("authorization", [])
        expected = f"Bearer {self._token}".encode()
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), expected):
            return 401
        return None

    def _is_ours(self, origin: str) -> bool:
        scheme, sep, rest = origin.partition("://")
        return bool(sep) and scheme in ("http", "https") and _name(rest) in self._hosts


def _name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


async def serve_http(
    toolbox: Toolbox,
    options: ServerOptions,
    *,
    host: str,
    port: int,
    token: str,
    hosts: Collection[str] = (),
    told: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve over HTTP until stopped.

    Args:
        toolbox: The tools on offer.
        options: What may be done.
        host: Address to bind.
        port: Port; 0 for any free one.
        token: Bearer token that every request needs.
        hosts: Further names under which it may be asked for.
        told: Called with the address once it is bound.

    Raises:
        VToolError: The address cannot be bound, or the token is empty.
    """
    uvicorn = require("uvicorn", "mcp")
    require("mcp", "mcp")
    from mcp.server.transport_security import TransportSecuritySettings

    if not token:
        raise VToolError("a server over HTTP needs a token: leave it out to have one made")
    known = {*LOOPBACK, host, *hosts}
    # The guard below has checked Host and Origin before this sees a request.
    off = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = make_server(toolbox, options).streamable_http_app(transport_security=off, host=host)
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as err:
        raise VToolError(f"cannot listen on {host}:{port}: {err.strerror}") from err
    # Accepted sockets inherit it; without it every answer waits for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound = f"[{host}]" if ":" in host else host
    told(f"http://{bound}:{listener.getsockname()[1]}/mcp")
    config = uvicorn.Config(
        Guard(app, token, known), log_level="warning", server_header=False, lifespan="on"
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        await toolbox.close()
