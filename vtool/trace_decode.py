"""Episodes from JSON: the reading half of a trace. Every digest is checked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import FaultCode, TraceError
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.media import Clip, Image
from vtool.message import (
    Action,
    Author,
    BoundCall,
    Fault,
    Found,
    Message,
    Outcome,
    Part,
    Reading,
    Role,
    Show,
    Text,
    ToolCall,
)
from vtool.record import (
    CallSpan,
    Edge,
    Episode,
    Finish,
    Fold,
    Fork,
    Placement,
    Run,
    Sampling,
    Segment,
    Spawn,
    StopReason,
)
from vtool.reward import Score, Unscored
from vtool.store import Cloud, DepthMap, Entry, Origin, Store, Table, Tile, Value, value_digest
from vtool.transform import Affine
from vtool.video.index import Head
from vtool.video.source import Video


def decode_entries(body: Mapping[str, Any], media: Path) -> list[Entry]:
    """All entries of a line, parents before children.

    Raises:
        TraceError: A value does not match its digest, or a parent is missing.
    """
    raw = body["episode"]
    stores = [raw["store"], *(c["store"] for c in raw["contexts"])]
    seen: dict[int, Entry] = {}
    for i, e in enumerate(body["entries"]):
        seen[i] = _read_entry(e, _siblings(i, stores, seen), media)
    return list(seen.values())


def _siblings(i: int, stores: list[list[int]], seen: Mapping[int, Entry]) -> list[Entry]:
    """Entries that were visible when entry `i` arrived: those before it on a path with it."""
    for path in stores:
        if i in path:
            return [seen[j] for j in path[: path.index(i)]]
    return []


def _read_entry(e: Mapping[str, Any], visible: list[Entry], media: Path) -> Entry:
    origin = Origin(
        e["parent"],
        e["tool"],
        None if e["transform"] is None else Affine(*e["transform"]),
        None if e["ops"] is None else tuple((name, tuple(args)) for name, args in e["ops"]),
        None if e["times_s"] is None else tuple(e["times_s"]),
        tuple(Tile(Box(*cell), parent, Affine(*t)) for cell, parent, t in e.get("tiles", ())),
    )
    value = _remake(origin, visible) if "value" not in e else _read_value(e["value"], media)
    if value_digest(value) != e["digest"]:
        raise TraceError(f"{e['handle']} does not match its digest: the trace was altered")
    return Entry(e["handle"], value, e["digest"], origin, e["serial"])


def _remake(origin: Origin, visible: list[Entry]) -> Value:
    parent = next((v for v in visible if v.handle == origin.parent), None)
    if parent is None or not isinstance(parent.value, Image) or origin.ops is None:
        raise TraceError(f"a view of {origin.parent!r}, which is not in the trace before it")
    return parent.value.replay(origin.ops).rooted()


def _read_value(v: Mapping[str, Any], media: Path) -> Value:
    if "image" in v:
        return _fetch(v["image"], media)
    if "clip" in v:
        return Clip(tuple(_fetch(d, media) for d in v["clip"]), tuple(v["times_s"]))
    if "video" in v:
        return _fetch_video(v["video"], v["file"], Head.of(v["head"]), media)
    if "mask" in v:
        return _read_mask(v["mask"], v["bits"])
    if "depth" in v:
        camera = Camera(*v["camera"]) if "camera" in v else None
        return DepthMap(_unpack(v["data"], np.float32).reshape(v["depth"]), v["metric"], camera)
    if "cloud" in v:
        return Cloud(_unpack(v["data"], np.float32).reshape(v["cloud"], 3))
    return Table(tuple(v["table"]))


def _fetch(digest: str, media: Path) -> Image:
    if not digest.isalnum():
        raise TraceError(f"{digest!r} is no digest")
    return Image.open(media / f"{digest}.png")


def _fetch_video(digest: str, name: str, head: Head, media: Path) -> Video:
    if not digest.isalnum() or Path(name).name != name or Path(name).stem != digest:
        raise TraceError(f"{name!r} is no file of a video {digest!r}")
    return Video.restore(media / name, head)


def _read_mask(shape: list[int], bits: str) -> Mask:
    count = shape[0] * shape[1]
    cells = np.unpackbits(_unpack(bits, np.uint8))[:count].astype(np.bool_)
    return Mask(cells.reshape(shape))


def _unpack(text: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=dtype).copy()


def decode_episode(raw: Mapping[str, Any], entries: list[Entry]) -> Episode:
    """An episode over entries already read."""
    ep = Episode(
        task_id=raw["task_id"],
        seed=raw["seed"],
        store=_read_store(raw["store"], entries),
        stop=StopReason(raw["stop"]),
        leaf=raw["leaf"],
        answer=raw["answer"],
        reading=_read_reading(raw["reading"]),
        verdicts=raw["verdicts"],
        error=raw["error"],
        seconds=raw["seconds"],
        runtime=raw["runtime"],
    )
    for c in raw["contexts"]:
        context = ep.open(
            c["seat"], edge=_read_edge(c["edge"]), store=_read_store(c["store"], entries)
        )
        for s in c["segments"]:
            context.append(_read_segment(s))
        context.stop = None if c["stop"] is None else StopReason(c["stop"])
        context.answer = c["answer"]
        context.reading = _read_reading(c["reading"])
    return ep


def _read_store(indices: list[int], entries: list[Entry]) -> Store:
    return Store.restore([entries[i] for i in indices])


def _read_edge(raw: list[Any] | None) -> Edge | None:
    if raw is None:
        return None
    kinds: dict[str, Any] = {"fork": Fork, "fold": Fold, "spawn": Spawn}
    edge: Edge = kinds[raw[0]](*raw[1:])
    return edge


def _read_segment(s: Mapping[str, Any]) -> Segment:
    return Segment(
        author=Author(s["author"]),
        turn=s["turn"],
        messages=tuple(_read_message(m) for m in s["messages"]),
        ids=None if s["ids"] is None else np.asarray(s["ids"], dtype=np.int32),
        logprobs=None if s["logprobs"] is None else _unpack(s["logprobs"], np.float32),
        sampling=None if s["sampling"] is None else Sampling(*s["sampling"]),
        version=s["version"],
        finish=None if s["finish"] is None else Finish(s["finish"]),
        placements=tuple(_read_placement(p) for p in s["placements"]),
        call_spans=tuple(CallSpan(*c) for c in s["call_spans"]),
        top=tuple(tuple((i, lp) for i, lp in row) for row in s["top"]),
    )


def _read_placement(p: list[Any]) -> Placement:
    runs = tuple(Run(start, length, tuple(grid)) for start, length, grid in p[2])
    return Placement(p[0], p[1], runs, tuple(p[3]), tuple(p[4]), bool(p[5]) if p[5:] else False)


def _read_message(m: Mapping[str, Any]) -> Message:
    parts: list[Part] = [
        Text(p["text"]) if "text" in p else Show(p["show"], p["max"]) for p in m["parts"]
    ]
    return Message(
        role=Role(m["role"]),
        author=Author(m["author"]),
        parts=tuple(parts),
        action=None if m["action"] is None else _read_action(m["action"]),
        outcomes=tuple(_read_outcome(o) for o in m["outcomes"]),
    )


def _read_action(a: Mapping[str, Any]) -> Action:
    return Action(
        a["text"],
        a["thought"],
        tuple(_read_call(c) for c in a["calls"]),
        a["answer"],
        tuple(_read_fault(f) for f in a["faults"]),
        a["ignored"],
    )


def _read_reading(r: Mapping[str, Any] | None) -> Reading | None:
    if r is None:
        return None
    return Reading(
        tuple(_read_region(x) for x in r["regions"]),
        r["attributes"],
        r["confidence"],
        None if r["fault"] is None else _read_fault(r["fault"]),
    )


def _read_call(c: Mapping[str, Any]) -> ToolCall:
    span = (c["span"][0], c["span"][1]) if c["span"] else None
    return ToolCall(c["name"], c["arguments"], span)


def _read_fault(f: Mapping[str, Any]) -> Fault:
    return Fault(FaultCode(f["code"]), f["message"], f["hint"], f["field"])


def _read_outcome(o: Mapping[str, Any]) -> Outcome:
    return Outcome(
        call=None if o["call"] is None else _read_call(o["call"]),
        bound=None if o["bound"] is None else _read_bound(o["bound"]),
        handles=tuple(o["handles"]),
        fault=None if o["fault"] is None else _read_fault(o["fault"]),
        seconds=o["seconds"],
        cached=o["cached"],
        effective=tuple(_read_region(r) for r in o["effective"]),
        found=tuple(Found(_read_region(r), *rest) for r, *rest in o["found"]),
    )


def _read_bound(b: Mapping[str, Any]) -> BoundCall:
    return BoundCall(
        _read_call(b["call"]),
        b["tool"],
        b["media"],
        {k: tuple(_read_region(r) for r in v) for k, v in b["regions"].items()},
        b["values"],
    )


def _read_region(r: list[Any]) -> Region:
    kind, *rest = r[1]
    if kind == "mask":
        return Region(r[0], _read_mask(rest[0], rest[1]))
    shapes: dict[str, Any] = {"box": Box, "point": Point, "span": Span}
    return Region(r[0], shapes[kind](*rest))


def decode_score(s: Mapping[str, Any]) -> Score:
    """A score with its parts."""

    def mark(m: Any) -> Any:
        return Unscored(m["unscored"]) if isinstance(m, dict) else m

    return Score(
        {k: mark(v) for k, v in s["parts"].items()},
        mark(s["total"]),
        {int(k): v for k, v in s["turns"].items()},
        s.get("terms", {}),
    )
