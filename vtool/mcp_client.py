"""Tools of any MCP server, used as tools here.

What a server says is not trusted: its descriptions are cut and are ordinary text to every
template, its pictures are decoded under the rules for media, its results are bounded, and a
server that changes what it once listed is refused. Needs the extra `mcp`.

Arguments: strings (with their choices), integers, numbers, booleans and lists of strings are
passed as they are; a string whose schema says `contentMediaType: image/...` takes a picture of
the episode, sent as base64 PNG; every other type is written by the model as JSON text, which is
read strictly before it is sent.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import binascii
import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from vtool.dialects.jsontext import read_json
from vtool.errors import FaultCode, MediaError, ModelFault, VToolError, require
from vtool.mcp_line import Line, cut, first_cause, over_http
from vtool.media import Image
from vtool.message import Json
from vtool.observation import Observation
from vtool.tool import Tool
from vtool.toolspec import Kind, Param, ToolSpec
from vtool.workers.breaker import ToolBroken

MAX_DESCRIPTION = 1000
MAX_IMAGES = 16
MAX_RESULT_BYTES = 64 * 2**20
START_S = 60.0
_PLAIN = {
    "string": Kind.STRING,
    "integer": Kind.INTEGER,
    "number": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
}


def mcp_tools(
    command: Sequence[str] | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
    prefix: str = "",
    seconds: float = 30.0,
    pin: str | None = None,
) -> list[Tool]:
    """The tools of an MCP server.

    Args:
        command: Starts a server that speaks over standard input and output.
        url: Address of a server over HTTP, instead.
        token: Bearer token for it.
        env: Further environment of the started server; it gets little else.
        only: Names of the tools to take; all by default.
        prefix: Put before their names here.
        seconds: Deadline of one call.
        pin: Digest of what the server must list (`McpServer.digest`); another list is refused.

    Raises:
        VToolError: It cannot be reached, lists something else than pinned, or lacks a tool.
        MissingExtra: The extra `mcp` is not installed.
    """
    server = McpServer(command, url=url, token=token, env=env, pin=pin)
    try:
        return server.tools(only=only, prefix=prefix, seconds=seconds)
    except BaseException:
        server.close()
        raise


class McpServer:
    """A connection to a server; made on first need, and again after a crash.

    Args:
        command: Starts a server that speaks over standard input and output.
        url: Address of a server over HTTP, instead.
        token: Bearer token for it.
        env: Further environment of the started server.
        pin: Digest of what it must list.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        env: Mapping[str, str] | None = None,
        pin: str | None = None,
    ) -> None:
        require("mcp", "mcp")
        if (command is None) == (url is None) or (command is not None and not list(command)):
            raise VToolError("an MCP server needs a command or a url, and not both")
        self._command, self._url, self._token = command, url, token
        self._env = dict(env or {})
        self._pin = pin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._line: asyncio.Task[Line] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        """SHA-256 of all that it lists: names, descriptions, schemas."""
        return _digest(self._listed())

    def tools(
        self, *, only: Sequence[str] | None = None, prefix: str = "", seconds: float = 30.0
    ) -> list[Tool]:
        """Its tools; see `mcp_tools`."""
        listed = {row["name"]: row for row in self._listed()}
        for name in only or ():
            if name not in listed:
                raise VToolError(f"the server has no tool {name!r}; it has {', '.join(listed)}")
        names = list(only) if only is not None else list(listed)
        return [self._tool(listed[name], prefix, seconds) for name in names]

    async def call(self, name: str, arguments: Mapping[str, Json]) -> Observation:
        """Call one of its tools, from any event loop.

        Raises:
            ModelFault: `tool_error` with what the server said; `tool_crashed` if it went away.
            ToolBroken: It lists something else than before, or its answer is beyond all bounds.
        """
        return await asyncio.wrap_future(self._submit(self._call(name, dict(arguments))))

    def close(self) -> None:
        """End the connection and, if it was started here, the server.

        A later call would connect again. More than once is allowed.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        atexit.unregister(self.close)
        if loop is None or thread is None:
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

    def _listed(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._submit(self._list()).result(START_S + 5)
        return rows

    async def _list(self) -> list[dict[str, Any]]:
        return (await self._connected()).listed

    def _submit(self, going: Any) -> Future[Any]:
        with self._lock:
            if self._loop is None:
                self._loop, self._line = asyncio.new_event_loop(), None
                self._thread = threading.Thread(
                    target=_run_forever, args=(self._loop,), daemon=True, name="mcp"
                )
                self._thread.start()
                atexit.register(self.close)
            return asyncio.run_coroutine_threadsafe(going, self._loop)

    async def _connected(self) -> Line:
        if self._line is None or (self._line.done() and not _usable(self._line)):
            self._line = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._line)

    async def _connect(self) -> Line:
        line = Line(self._client)
        try:
            await asyncio.wait_for(line.open(), START_S)
        except Exception as err:
            await line.close()
            raise VToolError(f"the MCP server cannot be reached: {first_cause(err)}") from err
        seen = _digest(line.listed)
        if self._pin is not None and seen != self._pin:
            await line.close()
            raise ToolBroken(
                f"the MCP server lists other tools than it did: expected {self._pin}, got {seen}; "
                "look at what it offers now, and pin that if you agree"
            )
        self._pin = seen
        return line

    def _client(self) -> contextlib.AbstractAsyncContextManager[Any]:
        from mcp import Client, StdioServerParameters

        if self._command is not None:
            head, *rest = self._command
            return Client(StdioServerParameters(command=head, args=rest, env=self._env))
        return over_http(str(self._url), self._token)

    async def _hang_up(self) -> None:
        if self._line is not None and _usable(self._line):
            await self._line.result().close()

    async def _call(self, name: str, arguments: dict[str, Json]) -> Observation:
        line = await self._connected()
        got = await line.call(name, arguments)
        return await asyncio.to_thread(observation, got, name)

    def _tool(self, row: Mapping[str, Any], prefix: str, seconds: float) -> Tool:
        name = row["name"]
        params, writers = params_of(row["input_schema"])

        async def call(**values: Any) -> Observation:
            given = {k: writers[k](v) for k, v in values.items()}
            return await self.call(name, given)

        call.__name__ = call.__qualname__ = name
        description = " ".join(str(row["description"] or name).split())[:MAX_DESCRIPTION]
        version = _digest([dict(row)])[:16]
        # What a server does is its own affair: never taken from the cache.
        spec = ToolSpec(prefix + name, description, params, version, seconds, 0, False)
        return Tool(spec, call, holds=self)


def params_of(
    schema: Mapping[str, Any],
) -> tuple[tuple[Param, ...], dict[str, Callable[[Any], Json]]]:
    """Arguments of a remote tool, and how each is written for it.

    Raises:
        VToolError: The schema is no object schema.
    """
    props = schema.get("properties", {})
    if schema.get("type", "object") != "object" or not isinstance(props, Mapping):
        raise VToolError(f"expected a schema of type object, got {schema.get('type')!r}")
    required = schema.get("required", [])
    params, writers = [], {}
    for name, body in props.items():
        body = body if isinstance(body, Mapping) else {}
        kind, choices, writer = _kind(name, body)
        about = " ".join(str(body.get("description", "")).split())[:MAX_DESCRIPTION]
        if kind is Kind.STRING and writer is not _same:
            shape = json.dumps(dict(body), ensure_ascii=False)[:300]
            about = f"{about} (written as JSON text; schema: {shape})".strip()
        params.append(Param(name, kind, about or name, name in required, None, choices))
        writers[name] = writer
    return tuple(params), writers


def _kind(
    name: str, body: Mapping[str, Any]
) -> tuple[Kind, tuple[str, ...], Callable[[Any], Json]]:
    given, options = body.get("type"), body.get("enum")
    if given == "string" and str(body.get("contentMediaType", "")).startswith("image/"):
        return Kind.IMAGE, (), _picture
    if given == "string" and isinstance(options, list):
        if all(isinstance(o, str) for o in options):
            return Kind.STRING, tuple(options), _same
    elif isinstance(given, str) and given in _PLAIN and options is None:
        return _PLAIN[given], (), _same
    elif given == "array" and body.get("items") == {"type": "string"}:
        return Kind.STRINGS, (), _same
    return Kind.STRING, (), _reader_of(name)


def _same(value: Any) -> Json:
    return value  # type: ignore[no-any-return]


def _picture(value: Image) -> Json:
    return base64.b64encode(value.encode()).decode()


def _reader_of(name: str) -> Callable[[Any], Json]:
    def read(value: Any) -> Json:
        try:
            return read_json(str(value))
        except ModelFault as fault:
            raise ModelFault(fault.code, fault.message, hint=fault.hint, field=name) from None

    return read


def observation(got: Any, name: str) -> Observation:
    """What a server answered, checked.

    Args:
        got: A `CallToolResult`.
        name: The tool, for messages.

    Raises:
        ModelFault: `tool_error`: the server says so, or its picture cannot be read.
        ToolBroken: There is too much of it.
    """
    check_size(got, name)
    words = [p.text for p in got.content if p.type == "text"]
    if got.is_error:
        raise ModelFault(FaultCode.TOOL_ERROR, f"{name}: {cut(' '.join(words))}")
    pictures = tuple(_decode(p.data, name) for p in got.content if p.type == "image")
    if not words and got.structured_content is not None:
        words = [json.dumps(got.structured_content, ensure_ascii=False)]
    other = sorted({p.type for p in got.content} - {"text", "image"})
    words += [f"({kind} left out)" for kind in other]
    return Observation(pictures, "\n".join(words))


def check_size(got: Any, name: str) -> None:
    """Refuse answers that would fill memory.

    Raises:
        ToolBroken: Too many pictures, or too many bytes.
    """
    pictures = [p for p in got.content if p.type == "image"]
    size = sum(len(p.data) for p in pictures)
    size += sum(len(p.text) for p in got.content if p.type == "text")
    if len(pictures) > MAX_IMAGES or size > MAX_RESULT_BYTES:
        raise ToolBroken(
            f"the server of {name} sent {len(pictures)} pictures and {size} bytes; at most "
            f"{MAX_IMAGES} and {MAX_RESULT_BYTES}"
        )


def _decode(data: str, name: str) -> Image:
    try:
        return Image.decode(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, MediaError) as err:
        raise ModelFault(
            FaultCode.TOOL_ERROR, f"{name} gave a picture that cannot be read"
        ) from err


def _usable(task: asyncio.Task[Line]) -> bool:
    return (
        task.done()
        and not task.cancelled()
        and task.exception() is None
        and not task.result().broken
    )


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _digest(rows: Sequence[Mapping[str, Any]]) -> str:
    body = json.dumps(sorted(rows, key=lambda r: str(r["name"])), sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()
