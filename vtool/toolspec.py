"""What a model is told about a tool: its arguments, their kinds, and the schema of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vtool.geometry import Box, Convention, Mask, Point, Span
from vtool.media import Clip, Image
from vtool.message import Json
from vtool.needs import Need
from vtool.store import Cloud, DepthMap, Table
from vtool.video.source import Video


class Kind(StrEnum):
    """What an argument is, as far as binding is concerned."""

    IMAGE = "image"
    IMAGES = "images"
    CLIP = "clip"
    VIDEO = "video"
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
    NUMBERS = "numbers"
    BOOLEAN = "boolean"
    STRINGS = "strings"


KINDS: Mapping[object, Kind] = {
    Image: Kind.IMAGE,
    list[Image]: Kind.IMAGES,
    Clip: Kind.CLIP,
    Video: Kind.VIDEO,
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
    list[float]: Kind.NUMBERS,
    bool: Kind.BOOLEAN,
    list[str]: Kind.STRINGS,
}

"""Types of arguments that can be bound."""

MEDIA_KINDS = frozenset({Kind.IMAGE, Kind.CLIP})
VALUE_KINDS = frozenset({Kind.VIDEO, Kind.MASK, Kind.DEPTH, Kind.CLOUD, Kind.TABLE})
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
    """For places and spans: the argument that names their picture, clip or video."""


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
    needs: tuple[Need, ...] = ()
    """Libraries, programs and weights without which it is not offered."""
    isolated: bool = False
    """Runs in a worker process, which is killed at the deadline and may crash alone."""
    batch: int = 1
    """Calls that its batch function takes at once, in a worker."""

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
        Kind.IMAGES: {"type": "array", "items": {"type": "integer"}, "note": f"(each {picture})"},
        Kind.CLIP: {"type": "integer", "note": f"({picture})"},
        Kind.BOX: {**box, "note": f"({note})"},
        Kind.BOXES: {"type": "array", "items": box, "note": f"(each {note})"},
        Kind.POINT: {**point, "note": f"({xy})"},
        Kind.POINTS: {"type": "array", "items": point, "note": f"(each {xy})"},
        Kind.SPAN: {**point, "note": "([start, end] in seconds)"},
        Kind.INTEGER: {"type": "integer"},
        Kind.NUMBER: number,
        Kind.NUMBERS: {"type": "array", "items": number},
        Kind.BOOLEAN: {"type": "boolean"},
        Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
    }
    body: dict[str, Json] = dict(plain.get(p.kind, {"type": "string"}))
    if p.choices:
        body["enum"] = list(p.choices)
    return body
