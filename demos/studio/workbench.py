"""Tools by hand: a visitor's files, what tools made of them, and one call at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtool.data_video import SUFFIXES
from vtool.dialects.hermes import Hermes
from vtool.errors import DataError
from vtool.geometry import Box, Point, Shape, Span
from vtool.media import Clip, Image
from vtool.message import Json, Message, Outcome, ToolCall
from vtool.store import Entry, Store
from vtool.tool import Tool
from vtool.toolbox import Toolbox
from vtool.toolspec import PLACE_KINDS, VALUE_KINDS, Kind, Param, ToolSpec
from vtool.video.source import Video

from .weight import MOST_BYTES, held, weight

MOST = 64
"""Files and results that are kept for one visitor; a fresh bench begins with none."""
PICTURES = frozenset({Kind.IMAGE, Kind.CLIP})
WRITTEN = PLACE_KINDS | {Kind.SPAN, Kind.NUMBERS, Kind.STRINGS}
"""Kinds that are written as a list."""


@dataclass(slots=True, eq=False)
class Workbench:
    """What lies before one visitor.

    Args:
        store: Files and results by handle.
        handle: What is shown large.
        drawn: A box that the visitor drew on it.
        last: The last answer.
        given: The form of the last call, to be changed and run again.
    """

    store: Store = field(default_factory=Store)
    handle: str = ""
    drawn: Box | None = None
    last: Message | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    dialect: Hermes = field(default_factory=Hermes)

    @property
    def outcome(self) -> Outcome | None:
        """What became of the last call."""
        return self.last.outcomes[0] if self.last and self.last.outcomes else None

    def open(self, path: Path) -> Entry:
        """Lay a file on it.

        Raises:
            DataError: It is full.
            VToolError: The file is no picture and no video, or too large.
        """
        self._room()
        video = path.suffix.lower() in SUFFIXES
        value = Video.open(path) if video else Image.open(path)
        self._room(weight(value))
        entry = self.store.add(value)
        if not video:
            self.handle, self.drawn = entry.handle, None
        return entry

    def fitting(self, kind: Kind) -> list[str]:
        """Handles that an argument of this kind takes, the last made first."""
        found = [e for e in self.store if fits(e, kind)]
        return [e.handle for e in reversed(found)]

    def fill(self, spec: ToolSpec, given: Mapping[str, Any]) -> dict[str, Json]:
        """A form as the arguments of a call; what was left empty is left out.

        Raises:
            DataError: A field that cannot be read, named.
        """
        filled: dict[str, Json] = {}
        for param in spec.params:
            value = given.get(param.name)
            if value is None or value in ("", []):
                if param.required:
                    raise DataError(f"expected {param.name}: {param.description.lower()}")
                continue
            filled[param.name] = self._read(param, value)
        return filled

    def _read(self, param: Param, value: Any) -> Json:
        if param.kind in PICTURES:
            return self._name(str(value))
        if param.kind is Kind.IMAGES:
            return [self._name(str(v)) for v in value]
        if param.kind in VALUE_KINDS:
            return f"${value}"
        if param.kind in WRITTEN and isinstance(value, str):
            return read_list(param, value)
        if param.kind is Kind.INTEGER and isinstance(value, float) and value.is_integer():
            return int(value)
        return value  # type: ignore[no-any-return]

    def _name(self, handle: str) -> Json:
        if handle not in self.store:
            raise DataError(f"there is no picture {handle[:40]!r} on the bench")
        return self.dialect.picture_name(handle, self.store)

    async def run(self, tool: Tool, box: Toolbox, given: Mapping[str, Any]) -> Message:
        """Run a tool on what lies here.

        Args:
            tool: Which.
            box: Holds it.
            given: Its form, by argument.

        Raises:
            DataError: The form cannot be read, or the bench is full.
            VToolError: Something of ours broke.
        """
        call = ToolCall(tool.spec.name, self.fill(tool.spec, given))
        room = self._room()
        (message,) = await box.run([call], self.store, self.dialect, self.store.size, room=room)
        self.last = message
        outcome = message.outcomes[0]
        self.handle = self._worth_seeing(outcome)
        if outcome.fault is None:
            self.drawn = None
        return message

    def _room(self, more: int = 0) -> int:
        """How many things may still be laid here, if something of so many bytes can be."""
        if len(self.store) >= MOST:
            raise DataError(f"the bench holds {MOST} things already: begin a fresh one")
        if held(self.store) + more > MOST_BYTES:
            raise DataError(
                f"the bench holds at most {MOST_BYTES // 2**20} MiB of pictures: begin a fresh one"
            )
        return MOST - len(self.store)

    def _worth_seeing(self, outcome: Outcome) -> str:
        """What is shown large after a call: a picture that it made, else where it found things."""
        made = [h for h in outcome.handles if not isinstance(self.store[h].value, Video)]
        where = [f.region.media for f in outcome.found if f.region.media in self.store]
        pictures = [h for h in made if isinstance(self.store[h].value, Image | Clip)]
        return next(iter([*pictures, *where, *made, self.handle]))


def fits(entry: Entry, kind: Kind) -> bool:
    """Whether a thing can stand for an argument of a kind."""
    if kind in (Kind.IMAGE, Kind.IMAGES):
        return isinstance(entry.value, Image | Clip)
    return entry.kind == kind.value


def read_list(param: Param, words: str) -> Json:
    """Numbers (or words) as somebody writes them: with brackets or without.

    Raises:
        DataError: They are no list.
    """
    told = words.strip()
    try:
        return json.loads(told if told.startswith("[") else f"[{told}]")  # type: ignore[no-any-return]
    except (ValueError, RecursionError) as err:
        if param.kind is Kind.STRINGS:
            return [w.strip() for w in told.split(",") if w.strip()]
        raise DataError(f"{param.name}: expected {example(param)}, got {told[:80]!r}") from err


def example(param: Param) -> str:
    """How an argument is written."""
    return {
        Kind.BOX: "x1, y1, x2, y2 in thousandths of the picture, such as 250, 100, 500, 400",
        Kind.BOXES: "boxes in thousandths, such as [[0, 0, 500, 500], [500, 500, 1000, 1000]]",
        Kind.POINT: "x, y in thousandths of the picture, such as 500, 250",
        Kind.POINTS: "points in thousandths, such as [[500, 250], [100, 100]]",
        Kind.SPAN: "start, end in seconds, such as 1.5, 4",
        Kind.NUMBERS: "numbers, such as 0.5, 1, 2.5",
        Kind.STRINGS: "words with commas between them",
    }.get(param.kind, param.kind.value)


def write_box(box: Box) -> str:
    """A box as the form takes it."""
    return ", ".join(f"{1000 * v:.0f}" for v in (box.x1, box.y1, box.x2, box.y2))


def missing(tool: Tool) -> str | None:
    """What a tool lacks here, and how to get it; None where it is ready."""
    lacks = tool.lacks()
    if not lacks:
        return None
    told = "; ".join(f"{lack.what}: {lack.fix}" for lack in lacks)
    return f"{tool.spec.name} cannot run here. It lacks {told}"


def place(shape: Shape) -> str:
    """A place in thousandths of its picture, or in seconds."""
    if isinstance(shape, Box):
        return write_box(shape)
    if isinstance(shape, Point):
        return f"{1000 * shape.x:.0f}, {1000 * shape.y:.0f}"
    if isinstance(shape, Span):
        return f"{shape.start_s:.2f} to {shape.end_s:.2f} s"
    return f"a mask in {write_box(shape.box())}" if shape.area else "an empty mask"


def to_json(message: Message) -> dict[str, Json]:
    """An answer as plain values, for programs."""
    outcome = message.outcomes[0]
    fault = outcome.fault
    found: list[Json] = [
        {
            "picture": f.region.media,
            "label": f.label,
            "score": f.score,
            "place": place(f.region.shape),
            "facts": dict(f.facts),
        }
        for f in outcome.found
    ]
    return {
        "text": message.text,
        "fault": None if fault is None else {"code": str(fault.code), "message": fault.message},
        "handles": list(outcome.handles),
        "found": found,
        "seconds": round(outcome.seconds, 4),
    }
