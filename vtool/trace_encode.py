"""Episodes to JSON: the writing half of a trace. What it writes, `trace_decode` reads back."""

from __future__ import annotations

import base64
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Box, Mask, Point, Region, Shape, Span
from vtool.media import Clip, Image
from vtool.message import Action, BoundCall, Fault, Json, Message, Outcome, Reading, Text, ToolCall
from vtool.record import Context, Edge, Episode, Fold, Fork, Placement, Segment
from vtool.reward import Score, Unscored
from vtool.store import Cloud, DepthMap, Entry, Tile, Value
from vtool.transform import Affine
from vtool.video.source import Video


def collect_entries(episode: Episode) -> tuple[list[Entry], dict[int, int]]:
    """All entries of all stores, parents before children, and their index by identity."""
    order: dict[int, int] = {}
    entries: list[Entry] = []
    for store in [episode.store, *(c.store for c in episode.contexts)]:
        for entry in store:
            if id(entry) not in order:
                order[id(entry)] = len(entries)
                entries.append(entry)
    return entries, order


def encode_episode(ep: Episode, order: Mapping[int, int]) -> Json:
    """An episode without its store's values."""
    return {
        "task_id": ep.task_id,
        "seed": ep.seed,
        "stop": str(ep.stop),
        "leaf": ep.leaf,
        "answer": ep.answer,
        "reading": None if ep.reading is None else _reading(ep.reading),
        "verdicts": ep.verdicts,
        "error": ep.error,
        "seconds": ep.seconds,
        "runtime": dict(ep.runtime),
        "store": [order[id(e)] for e in ep.store],
        "contexts": [_context(c, order) for c in ep.contexts],
    }


def _context(c: Context, order: Mapping[int, int]) -> Json:
    own = c.segments[c.shared :]
    return {
        "seat": c.seat,
        "edge": _edge(c.edge),
        "store": [order[id(e)] for e in c.store],
        "stop": None if c.stop is None else str(c.stop),
        "answer": c.answer,
        "reading": None if c.reading is None else _reading(c.reading),
        "segments": [_segment(s) for s in own],
    }


def _edge(edge: Edge | None) -> Json:
    if edge is None:
        return None
    if isinstance(edge, Fork):
        return ["fork", edge.parent, edge.at]
    if isinstance(edge, Fold):
        return ["fold", edge.parent, edge.reason]
    return ["spawn", edge.parent, edge.turn, edge.call]


def _segment(s: Segment) -> Json:
    return {
        "author": str(s.author),
        "turn": s.turn,
        "messages": [_message(m) for m in s.messages],
        "ids": None if s.ids is None else [int(i) for i in s.ids],
        "logprobs": None if s.logprobs is None else _pack(s.logprobs),
        "sampling": None
        if s.sampling is None
        else [
            s.sampling.temperature,
            s.sampling.top_p,
            s.sampling.top_k,
            s.sampling.max_tokens,
            s.sampling.record_top,
        ],
        "version": s.version,
        "finish": None if s.finish is None else str(s.finish),
        "placements": [_placement(p) for p in s.placements],
        "call_spans": [[c.call, c.start, c.end] for c in s.call_spans],
        "top": [[[i, lp] for i, lp in row] for row in s.top],
    }


def _placement(p: Placement) -> Json:
    runs: Json = [[r.start, r.length, list(r.grid)] for r in p.runs]
    return [p.handle, p.kind, runs, list(p.shown), list(p.times_s), *([True] if p.video else [])]


def _message(m: Message) -> Json:
    return {
        "role": str(m.role),
        "author": str(m.author),
        "parts": [
            {"text": p.text} if isinstance(p, Text) else {"show": p.handle, "max": p.max_pixels}
            for p in m.parts
        ],
        "action": None if m.action is None else _action(m.action),
        "outcomes": [_outcome(o) for o in m.outcomes],
    }


def _action(a: Action) -> Json:
    return {
        "text": a.text,
        "thought": a.thought,
        "calls": [_call(c) for c in a.calls],
        "answer": a.answer,
        "faults": [_fault(f) for f in a.faults],
        "ignored": a.ignored,
    }


def _reading(r: Reading) -> Json:
    return {
        "regions": [_region(x) for x in r.regions],
        "attributes": dict(r.attributes),
        "confidence": r.confidence,
        "fault": None if r.fault is None else _fault(r.fault),
    }


def _call(c: ToolCall) -> Json:
    return {
        "name": c.name,
        "arguments": dict(c.arguments),
        "span": list(c.span) if c.span else None,
    }


def _fault(f: Fault) -> Json:
    return {"code": str(f.code), "message": f.message, "hint": f.hint, "field": f.field}


def _outcome(o: Outcome) -> Json:
    return {
        "call": None if o.call is None else _call(o.call),
        "bound": None if o.bound is None else _bound(o.bound),
        "handles": list(o.handles),
        "fault": None if o.fault is None else _fault(o.fault),
        "seconds": o.seconds,
        "cached": o.cached,
        "effective": [_region(r) for r in o.effective],
        "found": [[_region(f.region), f.label, f.score, dict(f.facts)] for f in o.found],
    }


def _bound(b: BoundCall) -> Json:
    return {
        "call": _call(b.call),
        "tool": b.tool,
        "media": dict(b.media),
        "regions": {k: [_region(r) for r in v] for k, v in b.regions.items()},
        "values": dict(b.values),
    }


def _region(r: Region) -> Json:
    return [r.media, _shape(r.shape)]


def _shape(s: Shape) -> Json:
    if isinstance(s, Box):
        return ["box", s.x1, s.y1, s.x2, s.y2]
    if isinstance(s, Point):
        return ["point", s.x, s.y]
    if isinstance(s, Span):
        return ["span", s.start_s, s.end_s]
    return ["mask", list(s.cells.shape), _pack(np.packbits(s.cells))]


def encode_score(s: Score) -> Json:
    """A score with its parts."""

    def mark(m: object) -> Json:
        if isinstance(m, Unscored):
            return {"unscored": m.reason}
        if m is None:  # the part does not apply to this task
            return None
        return [float(v) for v in m] if isinstance(m, list | tuple) else float(m)  # type: ignore[arg-type]

    body: dict[str, Json] = {
        "parts": {k: mark(v) for k, v in s.parts.items()},
        "total": mark(s.total),
        "turns": {str(k): v for k, v in s.turns.items()},
    }
    return {**body, "terms": dict(s.terms)} if s.terms else body


def encode_entry(e: Entry, media: Path) -> Json:
    """A store entry; files are kept under `media`, views as their steps."""
    o = e.origin
    body: dict[str, Json] = {
        "handle": e.handle,
        "serial": e.serial,
        "digest": e.digest,
        "parent": o.parent,
        "tool": o.tool,
        "transform": None if o.transform is None else _affine(o.transform),
        "ops": None if o.ops is None else [[name, list(args)] for name, args in o.ops],
        "times_s": None if o.times_s is None else list(o.times_s),
    }
    if o.tiles:
        body["tiles"] = [_tile(t) for t in o.tiles]
    if o.ops is None or o.parent is None:
        body["value"] = _value(e.value, media)
    return body


def _tile(t: Tile) -> Json:
    cell: Json = [t.cell.x1, t.cell.y1, t.cell.x2, t.cell.y2]
    return [cell, t.parent, _affine(t.transform)]


def _affine(t: Affine) -> Json:
    return [t.a, t.b, t.c, t.d, t.e, t.f]


def _value(value: Value, media: Path) -> Json:
    if isinstance(value, Image):
        return {"image": _keep(value, media)}
    if isinstance(value, Clip):
        return {"clip": [_keep(f, media) for f in value.frames], "times_s": list(value.times_s)}
    if isinstance(value, Video):
        return {
            "video": value.digest,
            "file": _keep_file(value, media),
            "head": asdict(value.head),
        }
    if isinstance(value, Mask):
        return {"mask": list(value.cells.shape), "bits": _pack(np.packbits(value.cells))}
    if isinstance(value, DepthMap):
        return _depth(value)
    if isinstance(value, Cloud):
        return {"cloud": len(value.points), "data": _pack(value.points.astype(np.float32))}
    return {"table": [dict(row) for row in value.rows]}


def _depth(value: DepthMap) -> Json:
    body: dict[str, Json] = {"depth": list(value.values.shape), "metric": value.metric}
    if value.camera is not None:
        c = value.camera
        body["camera"] = [c.fx, c.fy, c.cx, c.cy]
    return {**body, "data": _pack(value.values.astype(np.float32))}


def _keep(image: Image, media: Path) -> str:
    path = media / f"{image.digest}.png"
    if not path.exists():
        temporary = path.with_suffix(_mine())
        # Quickly rather than tightly: packing pictures is most of what writing an episode costs.
        temporary.write_bytes(image.encode("PNG", level=1))
        temporary.replace(path)
    return image.digest


def _keep_file(video: Video, media: Path) -> str:
    """The file under its digest: one more link to it where the file system can, or a copy."""
    video.check_unchanged()
    suffix = video.path.suffix.lower() if video.path.suffix[1:].isalnum() else ""
    path = media / f"{video.digest}{suffix}"
    if not path.exists():
        temporary = path.with_suffix(_mine())
        try:
            os.link(video.path, temporary)
        except OSError:
            shutil.copyfile(video.path, temporary)
        temporary.replace(path)
    return path.name


def _mine() -> str:
    """Ends the name of a file that this thread alone writes."""
    return f".{os.getpid()}-{threading.get_ident()}.tmp"


def _pack(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
