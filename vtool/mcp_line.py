"""One life of a connection to an MCP server. Needs the extra `mcp`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from vtool.errors import FaultCode, ModelFault, VToolError
from vtool.message import Json

MAX_TOOLS = 256


class Line:
    """One life of a connection: opened, used and closed inside one task."""

    def __init__(self, client: Callable[[], contextlib.AbstractAsyncContextManager[Any]]) -> None:
        self._make = client
        self._client: Any = None
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self.listed: list[dict[str, Any]] = []
        self.broken = False

    async def open(self) -> None:
        """Connect and list its tools.

        Raises:
            VToolError: It cannot be reached.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._live(opened))
        await opened

    async def _live(self, opened: asyncio.Future[None]) -> None:
        try:
            async with self._make() as client:
                self.listed = await all_tools(client)
                self._client = client
                if not opened.done():
                    opened.set_result(None)
                await self._end.wait()
        except BaseException as err:
            if not opened.done():
                opened.set_exception(VToolError(first_cause(err)))
            if not isinstance(err, Exception):
                raise
        finally:
            self.broken = True

    async def call(self, name: str, arguments: dict[str, Json]) -> Any:
        """Call a tool.

        Raises:
            ModelFault: `tool_error` with what the server said; `tool_crashed` if it went away.
        """
        from mcp import MCPError

        try:
            return await self._client.call_tool(name, arguments)
        except MCPError as err:
            if err.code == _closed():
                raise await self._crashed(name) from err
            raise ModelFault(FaultCode.TOOL_ERROR, f"{name}: {cut(str(err))}") from err
        except (OSError, EOFError) as err:
            raise await self._crashed(name) from err
        except Exception as err:
            if type(err).__module__.split(".")[0] in ("anyio", "httpx", "httpx2", "httpcore2"):
                raise await self._crashed(name) from err
            raise

    async def _crashed(self, name: str) -> ModelFault:
        await self.close()
        return ModelFault(FaultCode.TOOL_CRASHED, f"the server of {name} went away on this call")

    async def close(self) -> None:
        """Hang up."""
        self.broken = True
        self._end.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=8)
            self._task.cancel()


@contextlib.asynccontextmanager
async def over_http(url: str, token: str | None) -> Any:
    """A client of a server at an address."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def all_tools(client: Any) -> list[dict[str, Any]]:
    """Everything that a server lists.

    Raises:
        VToolError: It goes on and on.
    """
    rows: list[dict[str, Any]] = []
    cursor = None
    while len(rows) <= MAX_TOOLS:
        page = await client.list_tools(cursor=cursor)
        rows += [
            {"name": t.name, "description": t.description, "input_schema": t.input_schema}
            for t in page.tools
        ]
        cursor = page.next_cursor
        if cursor is None:
            return rows
    raise VToolError(f"the server lists more than {MAX_TOOLS} tools")


def _closed() -> int:
    from mcp import types

    return int(types.CONNECTION_CLOSED)


def cut(text: str) -> str:
    """A server's words on one line, not too many of them."""
    text = " ".join(text.split())
    return text if len(text) <= 500 else text[:497] + "..."


def first_cause(err: BaseException) -> str:
    """The first cause in a group of errors, in words."""
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return cut(f"{type(err).__name__}: {err}")
