"""Tools are plain typed functions; `@tool` reads their signature and docstring.

A tool's function gets values (`Image`, `Box`, `int` ...), never raw model text: only the
`Toolbox` turns a model's arguments into values. It returns an `Image`, a `str`, another store
value, or an `Observation` for several of these. It raises `ModelFault` where the request itself
was wrong; any other exception is a bug of the tool.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias, overload

from vtool.errors import VToolError
from vtool.geometry import Box, Convention, Mask, Point, Region, Span
from vtool.media import Clip, Image
from vtool.message import Json
from vtool.registry import Registry
from vtool.store import Cloud, DepthMap, Table, Value


class Kind(StrEnum):
    """What an argument is, as far as binding is concerned."""

    IMAGE = "image"
    CLIP = "clip"
    BOX = "box"
    BOXES = "boxes"
    POINT = "point"
    POINTS = "points"
    SPAN = "span"
    MASK = "mask"
    DEPTH = "depth"
    CLOUD = "cloud"
    TABLE = "table"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRINGS = "strings"


_KINDS: Mapping[object, Kind] = {
    Image: Kind.IMAGE,
    Clip: Kind.CLIP,
    Box: Kind.BOX,
    list[Box]: Kind.BOXES,
    Point: Kind.POINT,
    list[Point]: Kind.POINTS,
    Span: Kind.SPAN,
    Mask: Kind.MASK,
    DepthMap: Kind.DEPTH,
    Cloud: Kind.CLOUD,
    Table: Kind.TABLE,
    str: Kind.STRING,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    list[str]: Kind.STRINGS,
}

MEDIA_KINDS = frozenset({Kind.IMAGE, Kind.CLIP})
VALUE_KINDS = frozenset({Kind.MASK, Kind.DEPTH, Kind.CLOUD, Kind.TABLE})
PLACE_KINDS = frozenset({Kind.BOX, Kind.BOXES, Kind.POINT, Kind.POINTS})


@dataclass(frozen=True, slots=True)
class Param:
    """One argument of a tool."""

    name: str
    kind: Kind
    description: str = ""
    required: bool = True
    default: Json = None
    choices: tuple[str, ...] = ()
    of: str | None = None
    """For places and spans: the argument that names their picture or clip."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told about a tool, and what running it needs."""

    name: str
    description: str
    params: tuple[Param, ...]
    version: str = "1"
    """Part of the cache key: raise it when results change."""
    seconds: float = 30.0
    """Deadline of one call."""
    concurrency: int = 0
    """How many calls may run at once; 0 means any number."""
    pure: bool = True
    """Same arguments, same result: may be cached and replayed."""

    def param(self, name: str) -> Param | None:
        """The argument of that name, or None."""
        return next((p for p in self.params if p.name == name), None)

    def schema(self, coordinates: Convention, picture: str = "number of the picture") -> Json:
        """JSON schema as function-calling templates write it."""
        props: dict[str, Json] = {}
        for p in self.params:
            body = _schema(p, coordinates, picture)
            text = " ".join(t for t in (p.description, str(body.pop("note", ""))) if t)
            props[p.name] = {**body, **({"description": text} if text else {})}
        required: list[Json] = [p.name for p in self.params if p.required]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": props, "required": required},
            },
        }


def _schema(p: Param, coordinates: Convention, picture: str) -> dict[str, Json]:
    number: dict[str, Json] = {"type": "number"}
    box: dict[str, Json] = {"type": "array", "items": number, "minItems": 4, "maxItems": 4}
    point: dict[str, Json] = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    note = coordinates.describe()
    xy = note.replace("x1, y1, x2, y2", "x, y").replace("x, y, width, height", "x, y")
    plain: dict[Kind, dict[str, Json]] = {
        Kind.IMAGE: {"type": "integer", "note": f"({picture})"},
        Kind.CLIP: {"type": "integer", "note": f"({picture})"},
        Kind.BOX: {**box, "note": f"({note})"},
        Kind.BOXES: {"type": "array", "items": box, "note": f"(each {note})"},
        Kind.POINT: {**point, "note": f"({xy})"},
        Kind.POINTS: {"type": "array", "items": point, "note": f"(each {xy})"},
        Kind.SPAN: {**point, "note": "([start, end] in seconds)"},
        Kind.INTEGER: {"type": "integer"},
        Kind.NUMBER: number,
        Kind.BOOLEAN: {"type": "boolean"},
        Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
    }
    body: dict[str, Json] = dict(plain.get(p.kind, {"type": "string"}))
    if p.choices:
        body["enum"] = list(p.choices)
    return body


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool gives back.

    Args:
        values: New things for the store, in order.
        text: Words for the model.
        show: Whether pictures and clips among the values are laid before the model; values that
            are not pictures never become tokens.
        effective: The places really used, where they differ from those asked for, as regions of
            the arguments' pictures; told to the model.
    """

    values: tuple[Value, ...] = ()
    text: str = ""
    show: bool = True
    effective: tuple[Box | Point | Span, ...] = ()


ToolReturn: TypeAlias = Value | str | Observation


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool may know of its surroundings, if its function asks for a `Call` argument."""

    seed: int
    """For tools that draw: a function of episode and call, never of the clock."""
    places: Mapping[str, tuple[Region, ...]]
    """Places as bound, with the picture they lie in."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with its spec."""

    spec: ToolSpec
    fn: Callable[..., Any]
    call_arg: str | None = None
    """Name of the function's `Call` argument, if it has one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the plain function."""
        return self.fn(*args, **kwargs)


def _load_tools() -> None:
    """Ours come through entry points; in a bare checkout there is nothing more to load."""


tools: Registry[Tool] = Registry("tool", "vtool.tools", _load_tools)
"""All tools by name. Published packages add theirs through the entry point group."""


@overload
def tool(fn: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    version: str = "1",
    seconds: float = 30.0,
    concurrency: int = 0,
    pure: bool = True,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    seconds: float = 30.0,
    concurrency: int = 0,
    pure: bool = True,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function, and register it.

    Args:
        fn: The function, when used without parentheses.
        name: What models call it; the function's name by default.
        version: Part of the cache key.
        seconds: Deadline of one call.
        concurrency: How many calls may run at once; 0 means any number.
        pure: Whether equal arguments give equal results.

    Raises:
        VToolError: An argument without a type, or of a type that cannot be bound.
    """

    def make(f: Callable[..., Any]) -> Tool:
        summary, told = _docstring(f)
        params, call_arg = _params(f, told)
        spec = ToolSpec(name or f.__name__, summary, params, version, seconds, concurrency, pure)
        return tools.add(spec.name, Tool(spec, f, call_arg))

    return make if fn is None else make(fn)


def _params(f: Callable[..., Any], told: Mapping[str, str]) -> tuple[tuple[Param, ...], str | None]:
    hints = typing.get_type_hints(f)
    params: list[Param] = []
    call_arg: str | None = None
    last_media: str | None = None
    for arg in inspect.signature(f).parameters.values():
        if arg.name not in hints:
            raise VToolError(f"tool {f.__name__}: argument {arg.name!r} needs a type")
        hint = _strip_none(hints[arg.name])
        if hint is Call:
            call_arg = arg.name
            continue
        kind, choices = _kind(f.__name__, arg.name, hint)
        if kind in MEDIA_KINDS:
            last_media = arg.name
        of = last_media if kind in PLACE_KINDS or kind is Kind.SPAN else None
        required = arg.default is inspect.Parameter.empty
        default = None if required else arg.default
        params.append(Param(arg.name, kind, told.get(arg.name, ""), required, default, choices, of))
    return tuple(params), call_arg


def _kind(function: str, arg: str, hint: object) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(hint) is Literal:
        return Kind.STRING, tuple(str(c) for c in typing.get_args(hint))
    kind = _KINDS.get(hint)
    if kind is None:
        names = ", ".join(getattr(k, "__name__", str(k)) for k in _KINDS)
        raise VToolError(f"tool {function}: {arg!r} has type {hint}, which is none of {names}")
    return kind, ()


def _strip_none(hint: object) -> object:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return hint


def _docstring(f: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the `Args:` entries of a Google docstring."""
    doc = inspect.getdoc(f) or ""
    if not doc.strip():
        raise VToolError(f"tool {f.__name__} needs a docstring: it is what the model is told")
    summary = " ".join(re.split(r"\n\s*\n|\nArgs:", doc, maxsplit=1)[0].split())
    found = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    told: dict[str, str] = {}
    name = None
    for line in (found.group(1) if found else "").splitlines():
        entry = re.match(r"^ {2,4}(\w+)(?: \([^)]*\))?: *(.*)$", line)
        if entry:
            name = entry.group(1)
            told[name] = entry.group(2)
        elif name and line.strip():
            told[name] += " " + line.strip()
    return summary, told
