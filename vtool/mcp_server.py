"""The toolbox over the Model Context Protocol: tools with schemas, pictures by handle.

Any MCP client may call what a policy may call, with the same checks. Pictures are opened below
roots that people gave, named by handles, returned as PNG and kept a session apart. Coordinates
are written as the schemas say. Needs the extra `mcp`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from vtool.dialects.hermes import Hermes, unknown_picture, visuals
from vtool.dialects.wording import place
from vtool.errors import FaultCode, MediaError, ModelFault, StoreError, require
from vtool.geometry import Convention, Mask, Region, Units
from vtool.media import Clip, Image
from vtool.message import Json, Message, Outcome, ToolCall
from vtool.store import Entry, Store, Table
from vtool.toolbox import Toolbox
from vtool.toolspec import MEDIA_KINDS, Kind, ToolSpec
from vtool.workers.results import value_bytes
from vtool.workspace import Belongings

OPEN = "open_image"
SCHEME = "vtool://"


class ByHandle(Hermes):
    """Names pictures and values by their handles, as results do."""

    def picture_name(self, handle: str, store: Store) -> str | int:
        """The handle."""
        return handle

    def picture(self, name: object, store: Store) -> str:
        """The handle that a call names, with or without the resource scheme."""
        known = [e.handle for e in visuals(store)]
        if isinstance(name, str) and name.removeprefix(SCHEME) in known:
            return name.removeprefix(SCHEME)
        raise unknown_picture(name, list(known))


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server may do.

    Args:
        roots: Folders below which pictures may be opened; none, and none can be.
        units: How coordinates are written.
        max_pixels: Pictures in results are made smaller than this; their resources are not.
        max_images: Pictures of a session.
        max_bytes: Of all that a session holds: pictures, masks, maps, clouds.
        max_sessions: Sessions kept; the least recently used are forgotten first.
        seed: For tools that draw; with the number of the call.
    """

    roots: tuple[Path, ...] = ()
    units: Units = Units.ORIGINAL
    max_pixels: int = 2_000_000
    max_images: int = 256
    max_bytes: int = 1 << 30
    max_sessions: int = 64
    seed: int = 0


@dataclass(slots=True)
class _Session:
    """What is kept between the calls of one client."""

    store: Store = field(default_factory=Store)
    belongings: Belongings = field(default_factory=Belongings)
    calls: int = 0


class Desk:
    """Answers MCP requests with a toolbox; knows no transport.

    Args:
        toolbox: The tools on offer.
        options: What may be done.
    """

    def __init__(self, toolbox: Toolbox, options: ServerOptions) -> None:
        self.toolbox, self.options = toolbox, options
        self.dialect = ByHandle(coordinates=Convention(options.units), max_parallel=1)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def store(self, session: str) -> Store:
        """The pictures of a session."""
        return self._session(session).store

    def close(self) -> None:
        """End what the sessions' tools keep; their pictures are forgotten."""
        while self._sessions:
            self._sessions.popitem()[1].belongings.close()

    def _session(self, name: str) -> _Session:
        found = self._sessions.setdefault(name, _Session())
        self._sessions.move_to_end(name)
        while len(self._sessions) > self.options.max_sessions:
            gone = self._sessions.popitem(last=False)[1]
            # Ending a guest takes a moment, which the others need not wait for.
            threading.Thread(target=gone.belongings.close, daemon=True).start()
        return found

    def schemas(self) -> list[dict[str, Any]]:
        """Name, description and input schema of each tool."""
        listed = [_schema(s, self.dialect.coordinates) for s in self.toolbox.specs]
        return [*([_OPEN_SCHEMA] if self.options.roots else []), *listed]

    async def call(self, name: str, arguments: dict[str, Any], session: str) -> dict[str, Any]:
        """Carry out a call.

        Returns:
            `content` (texts, and `Image`s to be encoded), `structured`, `is_error`.
        """
        kept, options = self._session(session), self.options
        store = kept.store
        try:
            check_room(store, options)
            if name == OPEN and options.roots:
                image = await asyncio.to_thread(open_image, arguments, options.roots)
                return self._told(Outcome(handles=(store.add(image).handle,)), store)
        except ModelFault as fault:
            return _refused(fault)
        kept.calls += 1
        said = await self.toolbox.run(
            [ToolCall(name, arguments)],
            store,
            self.dialect,
            store.size,
            seed=options.seed * 1_000_003 + kept.calls,
            belongings=kept.belongings,
            room=options.max_images - len(store.images()),
        )
        message = said[0]
        outcome = message.outcomes[0]
        if outcome.fault is not None:
            f = outcome.fault
            return _refused(ModelFault(f.code, f.message, hint=f.hint, field=f.field))
        return self._told(outcome, store, message)

    def resources(self, session: str) -> list[Entry]:
        """What can be read by `vtool://HANDLE`."""
        return [e for e in self.store(session) if isinstance(e.value, Image | Mask | Table)]

    def read(self, uri: str, session: str) -> tuple[str, bytes]:
        """Kind (MIME) and bytes of a resource.

        Raises:
            StoreError: There is none of that name.
        """
        handle = uri.removeprefix(SCHEME)
        value = self.store(session)[handle].value
        if isinstance(value, Image):
            return "image/png", value.encode()
        if isinstance(value, Mask):
            grey = np.repeat(value.cells[:, :, None].astype(np.uint8) * 255, 3, axis=2)
            return "image/png", Image(grey).encode()
        if isinstance(value, Table):
            rows = json.dumps([dict(r) for r in value.rows], ensure_ascii=False)
            return "application/json", rows.encode()
        raise StoreError(f"{handle} has no form in which it could be read")

    def _told(
        self, outcome: Outcome, store: Store, message: Message | None = None
    ) -> dict[str, Any]:
        made: list[Json] = [self._entry(store[h], store) for h in outcome.handles]
        body: dict[str, Json] = {"handles": list(outcome.handles), "values": made}
        if message is not None and message.text:
            body["text"] = message.text
        found: list[Json] = [
            {
                "picture": f.region.media,
                "label": f.label,
                "place": self._place(f.region, store),
                **({} if f.score is None else {"score": round(f.score, 4)}),
                **f.facts,
            }
            for f in outcome.found
        ]
        used: list[Json] = [
            {"picture": r.media, "place": self._place(r, store)} for r in outcome.effective
        ]
        body |= {k: v for k, v in (("found", found), ("used", used)) if v}
        shown = {s.handle for s in message.shows} if message is not None else set(outcome.handles)
        pictures = [
            frame
            for h in outcome.handles
            if h in shown
            for frame in _frames(store[h].value, self.options.max_pixels)
        ]
        words = json.dumps(body, ensure_ascii=False)
        return {"content": [words, *pictures], "structured": body, "is_error": False}

    def _entry(self, entry: Entry, store: Store) -> Json:
        body: dict[str, Json] = {"handle": entry.handle, "kind": entry.kind}
        size = store.size(entry.handle)
        if size is not None:
            body["size"] = list(size)
        if isinstance(entry.value, Image):
            shown = _shown(entry.value, self.options.max_pixels).size
            body |= {} if shown == size else {"shown": list(shown)}
        if entry.origin.parent is not None:
            body["of"] = entry.origin.parent
        return body

    def _place(self, region: Region, store: Store) -> Json:
        return place(region, self.dialect, store, store.size)


def check_room(store: Store, options: ServerOptions) -> None:
    """Refuse to fill memory without end.

    Raises:
        ModelFault: `too_many_images` or `too_large`.
    """
    if len(store.images()) >= options.max_images:
        raise ModelFault(
            FaultCode.TOO_MANY_IMAGES, f"a session holds at most {options.max_images} pictures"
        )
    if sum(value_bytes(e.value) for e in store) >= options.max_bytes:
        raise ModelFault(
            FaultCode.TOO_LARGE,
            f"a session holds at most {options.max_bytes >> 20} MB of results",
            hint="begin another session",
        )


def open_image(arguments: dict[str, Any], roots: Sequence[Path]) -> Image:
    """Read a picture file below one of the roots.

    Raises:
        ModelFault: `bad_args`, or `bad_image` whatever the reason: what lies outside the roots
            is not told apart from what is not there.
    """
    path = arguments.get("path")
    if set(arguments) != {"path"} or not isinstance(path, str):
        raise ModelFault(FaultCode.BAD_ARGS, 'expected {"path": "..."}', field="path")
    real = below(path, roots)
    if real is None:
        raise ModelFault(
            FaultCode.BAD_IMAGE, "there is no such picture below the folders of this server"
        )
    try:
        return Image.open(real)
    except MediaError as err:
        raise ModelFault(FaultCode.BAD_IMAGE, "this file is no picture that can be read") from err


def below(path: str, roots: Sequence[Path]) -> Path | None:
    """The file that a path means, links followed; None if it does not lie below a root."""
    for root in roots:
        try:
            base = root.resolve(strict=True)
            real = (base / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if real.is_relative_to(base) and real.is_file():
            return real
    return None


def make_server(toolbox: Toolbox, options: ServerOptions) -> Any:
    """A low-level MCP server over a toolbox.

    Raises:
        MissingExtra: The extra `mcp` is not installed.
    """
    require("mcp", "mcp")
    from mcp import types
    from mcp.server.lowlevel.server import Server
    from mcp.shared.exceptions import MCPError

    desk = Desk(toolbox, options)

    async def list_tools(context: Any, params: Any) -> Any:
        return types.ListToolsResult(tools=[types.Tool(**s) for s in desk.schemas()])

    async def call_tool(context: Any, params: Any) -> Any:
        got = await desk.call(params.name, dict(params.arguments or {}), session_of(context))
        # Encoding a picture takes long enough to hold up everybody else.
        content = await asyncio.to_thread(_content, got["content"])
        return types.CallToolResult(
            content=content, structured_content=got["structured"], is_error=got["is_error"]
        )

    async def list_resources(context: Any, params: Any) -> Any:
        listed = [
            types.Resource(uri=f"{SCHEME}{e.handle}", name=e.handle, mime_type=_mime(e))
            for e in desk.resources(session_of(context))
        ]
        return types.ListResourcesResult(resources=listed)

    async def read_resource(context: Any, params: Any) -> Any:
        try:
            kind, data = await asyncio.to_thread(desk.read, str(params.uri), session_of(context))
        except StoreError as err:
            raise MCPError(code=types.INVALID_PARAMS, message=str(err)) from err
        blob = types.BlobResourceContents(
            uri=str(params.uri), mime_type=kind, blob=base64.b64encode(data).decode()
        )
        return types.ReadResourceResult(contents=[blob])

    return Server(
        "vtool",
        version=_version(),
        instructions=(
            "Vision tools. Pictures are named by handles such as image_1; results add more. "
            f"Coordinates are {desk.dialect.coordinates.describe()}."
        ),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def session_of(context: Any) -> str:
    """Whose pictures a request means: its connection's, or those of the session it names.

    Over HTTP, clients of the sessionless protocol may name a session of their own in the header
    `x-vtool-session`; without it they share one.
    """
    headers = getattr(context.request, "headers", None)
    if headers is None:
        return "stdio"
    return str(headers.get("mcp-session-id") or headers.get("x-vtool-session") or "shared")


async def serve_stdio(toolbox: Toolbox, options: ServerOptions) -> None:
    """Serve one client over standard input and output."""
    require("mcp", "mcp")
    from mcp.server.stdio import stdio_server

    server = make_server(toolbox, options)
    try:
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())
    finally:
        await toolbox.close()


def _schema(spec: ToolSpec, coordinates: Convention) -> dict[str, Any]:
    told: Any = spec.schema(coordinates, "name of the picture, such as image_1")
    function = told["function"]
    for param in spec.params:
        body = function["parameters"]["properties"][param.name]
        if param.kind in MEDIA_KINDS:
            body["type"] = "string"
        elif param.kind is Kind.IMAGES:
            body["items"] = {"type": "string"}
    function["parameters"]["additionalProperties"] = False
    return {
        "name": spec.name,
        "description": spec.description,
        "input_schema": function["parameters"],
    }


_OPEN_SCHEMA: dict[str, Any] = {
    "name": OPEN,
    "description": "Open a picture file; the result names it by a handle for the other tools.",
    "input_schema": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Path below a folder of this server."}
        },
        "required": ["path"],
        "additionalProperties": False,
    },
}


def _refused(fault: ModelFault) -> dict[str, Any]:
    told = json.loads(fault.to_json())
    return {"content": [fault.to_json()], "structured": told, "is_error": True}


def _shown(image: Image, max_pixels: int) -> Image:
    width, height = image.size
    if width * height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (width * height))
    return image.resize((max(1, int(width * scale)), max(1, int(height * scale))))


def _frames(value: object, max_pixels: int) -> list[Image]:
    if isinstance(value, Clip):
        each = max(1, max_pixels // len(value.frames))
        return [_shown(frame, each) for frame in value.frames]
    return [_shown(value, max_pixels)] if isinstance(value, Image) else []


def _content(parts: Sequence[str | Image]) -> list[Any]:
    from mcp import types

    return [
        types.TextContent(text=part)
        if isinstance(part, str)
        else types.ImageContent(
            data=base64.b64encode(part.encode()).decode(), mime_type="image/png"
        )
        for part in parts
    ]


def _mime(entry: Entry) -> str:
    return "application/json" if isinstance(entry.value, Table) else "image/png"


def _version() -> str:
    try:
        return version("vtool-agent")
    except PackageNotFoundError:
        return "0"
