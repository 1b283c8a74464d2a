"""Values as JSON and raw bytes: what tools are given and give back, between two processes.

No pickles: a header of plain JSON names every part, arrays follow as they lie in memory. A value
that stands in several places (a picture, and the `Way` that leads back to it) is written once,
and what the other side has already is written as a number. Nothing here opens a pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import FaultCode, ModelFault, VToolError
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.media import Clip, Image, Lineage
from vtool.message import Json
from vtool.observation import Call, Finding, Observation, Way
from vtool.store import Cloud, DepthMap, Table, Value
from vtool.transform import Affine
from vtool.video.source import Video

DTYPES = ("uint8", "bool", "float32")
"""Arrays of other types are refused on both sides."""

Held: TypeAlias = Callable[[str], Image | None]
"""Finds a picture by digest among those that this side kept."""


class WireError(VToolError, ValueError):
    """A thing that cannot be written, or bytes that say nothing."""


class Missing(WireError):
    """Pictures were named by digest that this side no longer has."""

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(f"{len(digests)} pictures are no longer held here")
        self.digests = tuple(digests)


@dataclass(slots=True)
class Letter:
    """Something written down.

    Args:
        header: Plain JSON.
        buffers: Raw bytes of the arrays, in the header's order.
        values: All values in it, by the number that the header gives them.
    """

    header: dict[str, Json]
    buffers: list[memoryview]
    values: list[Value]


def write(
    thing: object,
    *,
    known: Sequence[Value] = (),
    held: Collection[str] = (),
    digests: bool = False,
) -> Letter:
    """Write a thing down.

    Args:
        thing: Plain values, places, store values, observations, faults, and lists of these.
        known: Values that the reader has, in its order; they are written as numbers.
        held: Digests of pictures that the reader has kept.
        digests: Say the digests of pictures, so that the reader need not take them again. Only
            for a reader who may believe them.

    Raises:
        WireError: Something in it has no written form.
    """
    writer = _Writer(list(known), held, digests)
    body = writer.write(thing)
    header: dict[str, Json] = {
        "thing": body,
        "values": writer.rows,
        "arrays": [{"dtype": str(a.dtype), "shape": list(a.shape)} for a in writer.arrays],
    }
    buffers = [a.reshape(-1).view(np.uint8).data for a in writer.arrays]
    return Letter(header, buffers, writer.values)


def read(
    header: Mapping[str, Any],
    body: memoryview,
    *,
    known: Sequence[Value] = (),
    held: Held | None = None,
) -> tuple[object, list[Value]]:
    """Read what `write` wrote.

    Args:
        header: The header.
        body: The buffers, one after the other.
        known: The same values, in the same order, that the writer was told of.
        held: Finds pictures that were named by digest.

    Returns:
        The thing, and all values in it by number.

    Raises:
        Missing: Pictures named by digest are not here.
        WireError: The bytes do not say anything.
    """
    try:
        reader = _Reader(list(known), _arrays(header["arrays"], body), held)
        for row in header["values"]:
            reader.add(row)
        if reader.missing:
            raise Missing(reader.missing)
        return reader.read(header["thing"]), reader.values
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as err:
        if isinstance(err, WireError):
            raise
        raise WireError(f"this is no letter: {type(err).__name__}: {err}") from err


def _arrays(rows: Sequence[Mapping[str, Any]], body: memoryview) -> list[NDArray[Any]]:
    out, at = [], 0
    for row in rows:
        if row["dtype"] not in DTYPES:
            raise WireError(f"arrays are {', '.join(DTYPES)}, got {row['dtype']!r}")
        dtype, shape = np.dtype(row["dtype"]), tuple(int(n) for n in row["shape"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        if min(shape, default=0) < 0 or at + size > len(body):
            raise WireError(f"an array of shape {shape} does not lie in {len(body)} bytes")
        array = np.frombuffer(body[at : at + size], dtype).reshape(shape)
        array.flags.writeable = False
        out.append(array)
        at += size
    if at != len(body):
        raise WireError(f"{len(body) - at} bytes belong to no array")
    return out


@dataclass(slots=True)
class _Writer:
    values: list[Value]
    held: Collection[str]
    digests: bool
    rows: list[Json] = field(default_factory=list)
    arrays: list[NDArray[Any]] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = {id(v): i for i, v in enumerate(self.values)}

    def write(self, thing: object) -> Json:
        if thing is None or isinstance(thing, bool | int | float | str):
            return thing
        if isinstance(thing, list):
            return [self.write(x) for x in thing]
        if isinstance(thing, Image | Clip | Mask | DepthMap | Cloud | Table):
            return {"value": self.number(thing)}
        if isinstance(thing, tuple):
            return {"tuple": [self.write(x) for x in thing]}
        if isinstance(thing, Mapping):
            return {"map": {str(k): self.write(v) for k, v in thing.items()}}
        for kind, names in _PARTS.items():
            if type(thing) is kind:
                return {kind.__name__: [self.write(getattr(thing, n)) for n in names]}
        if isinstance(thing, ModelFault):
            return {"fault": [str(thing.code), thing.message, thing.hint, thing.field]}
        raise WireError(f"a {type(thing).__name__} cannot go to another process")

    def number(self, value: Value) -> int:
        if id(value) not in self._numbers:
            row = self.row(value)
            self._numbers[id(value)] = len(self.values)
            self.values.append(value)
            self.rows.append(row)
        return self._numbers[id(value)]

    def row(self, value: Value) -> Json:
        if isinstance(value, Image):
            return self.picture(value)
        if isinstance(value, Clip):
            return {
                "kind": "clip",
                "frames": [self.number(f) for f in value.frames],
                "times_s": list(value.times_s),
            }
        if isinstance(value, Table):
            return {"kind": "table", "rows": [dict(r) for r in value.rows]}
        if isinstance(value, DepthMap):
            return {
                "kind": "depth",
                "array": self.array(value.values),
                "metric": value.metric,
                "camera": self.write(value.camera),
            }
        if isinstance(value, Video):
            raise WireError("a video cannot go to another process: it is read by its own worker")
        if isinstance(value, Mask):
            return {"kind": "mask", "array": self.array(value.cells)}
        return {"kind": "cloud", "array": self.array(value.points)}

    def picture(self, image: Image) -> Json:
        row: dict[str, Json] = {"kind": "image"}
        if image.lineage is not None:
            line = image.lineage
            ops: list[Json] = [[name, list(args)] for name, args in line.ops]
            row["lineage"] = [line.root, ops, self.write(line.transform)]
        if self.digests:
            row["digest"] = image.digest
            if image.digest in self.held:
                return row
        return {**row, "array": self.array(image.pixels)}

    def array(self, array: NDArray[Any]) -> int:
        if str(array.dtype) not in DTYPES:
            raise WireError(f"arrays are {', '.join(DTYPES)}, got {array.dtype}")
        self.arrays.append(np.ascontiguousarray(array))
        return len(self.arrays) - 1


@dataclass(slots=True)
class _Reader:
    values: list[Value]
    arrays: list[NDArray[Any]]
    held: Held | None
    missing: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        kind = row["kind"]
        if kind == "image":
            self.values.append(self.picture(row))
        elif kind == "clip":
            frames = tuple(cast(Image, self.values[n]) for n in row["frames"])
            times = tuple(float(t) for t in row["times_s"])
            # Frames that are missing stand for themselves until the letter comes again.
            self.values.append(frames[0] if self.missing else Clip(frames, times))
        elif kind == "table":
            self.values.append(Table(tuple(row["rows"])))
        elif kind == "depth":
            depth, camera = self.arrays[row["array"]], self.read(row["camera"])
            self.values.append(DepthMap(depth, bool(row["metric"]), camera))
        else:
            made: Any = {"mask": Mask, "cloud": Cloud}[kind]
            self.values.append(made(self.arrays[row["array"]]))

    def picture(self, row: Mapping[str, Any]) -> Image:
        lineage = None
        if "lineage" in row:
            root, ops, transform = row["lineage"]
            steps = tuple((name, tuple(args)) for name, args in ops)
            lineage = Lineage(root, steps, cast(Affine, self.read(transform)))
        digest = [row["digest"]] if "digest" in row else []
        if "array" in row:
            return Image(self.arrays[row["array"]], lineage, digest)
        kept = self.held(row["digest"]) if self.held else None
        if kept is None:
            self.missing.append(row["digest"])
            return Image(np.zeros((1, 1, 3), np.uint8))
        return Image(kept.pixels, lineage, digest)

    def read(self, body: Any) -> Any:
        if isinstance(body, list):
            return [self.read(x) for x in body]
        if not isinstance(body, dict):
            return body
        ((kind, inner),) = body.items()
        if kind == "value":
            return self.values[inner]
        if kind == "tuple":
            return tuple(self.read(x) for x in inner)
        if kind == "map":
            return {k: self.read(v) for k, v in inner.items()}
        if kind == "fault":
            code, message, hint, where = inner
            return ModelFault(FaultCode(code), message, hint=hint, field=where)
        made, names = _NAMED[kind]
        return made(**dict(zip(names, (self.read(x) for x in inner), strict=True)))


_PARTS: dict[type, tuple[str, ...]] = {
    Box: ("x1", "y1", "x2", "y2"),
    Point: ("x", "y"),
    Span: ("start_s", "end_s"),
    Region: ("media", "shape"),
    Affine: ("a", "b", "c", "d", "e", "f"),
    Camera: ("fx", "fy", "cx", "cy"),
    Way: ("of", "transform", "cell"),
    Finding: ("shape", "label", "score", "of", "facts"),
    Observation: ("values", "text", "show", "effective", "found", "ways"),
    Call: ("seed", "places"),
}
_NAMED: dict[str, tuple[Any, tuple[str, ...]]] = {
    kind.__name__: (kind, names) for kind, names in _PARTS.items()
}
