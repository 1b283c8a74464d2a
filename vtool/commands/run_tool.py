"""One tool on files: reads them, makes the call as a model would, keeps what it made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from vtool.camera import Camera
from vtool.config import override
from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import place
from vtool.errors import DataError, MediaError, require
from vtool.geometry import Convention, Mask, Units
from vtool.media import Clip, Image
from vtool.message import Fault, Found, Json, Message, ToolCall
from vtool.store import Cloud, DepthMap, Entry, Store, Table, Value
from vtool.tool import Tool, choose
from vtool.toolbox import Toolbox
from vtool.toolspec import VALUE_KINDS, Kind, Param, ToolSpec
from vtool.video.source import Video


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it."""

    text: str
    found: tuple[dict[str, Json], ...]
    files: tuple[Path, ...]

    @property
    def lines(self) -> list[str]:
        """For people."""
        said = [self.text] if self.text else []
        said += [json.dumps(f, ensure_ascii=False) for f in self.found]
        return [*said, *(str(f) for f in self.files)] or ["(nothing)"]

    def to_json(self) -> dict[str, Json]:
        """For programs."""
        return {
            "text": self.text,
            "found": list(self.found),
            "files": [str(f) for f in self.files],
        }


def run_by_hand(
    name: str,
    arguments: Sequence[str],
    *,
    pictures: Sequence[Path],
    settings: Sequence[str],
    units: Units,
    out: Path,
) -> Told:
    """Run a tool on files.

    Args:
        name: A registered tool.
        arguments: `key=value`; values are read as YAML.
        pictures: Files of its pictures, numbered from 1.
        settings: `key=value` of the tool's settings.
        units: What the coordinates count.
        out: Folder for what it makes; files of an earlier run are replaced.

    Raises:
        DataError: The tool refused the call.
        ToolUnavailable: It cannot run here; the message says what it lacks.
    """
    tool = choose({name: override({}, settings)})
    store = Store()
    for path in pictures:
        store.add(Image.open(path))
    given = _filled(tool.spec, override({}, arguments), store)
    dialect = Hermes(coordinates=Convention(units))
    # Results are told by handle here, not by number: nothing is laid before a model.
    message = asyncio.run(_call(tool, ToolCall(name, given), store, dialect))
    outcome = message.outcomes[0]
    if outcome.fault is not None:
        raise DataError(_refused(name, outcome.fault))
    out.mkdir(parents=True, exist_ok=True)
    return Told(
        text=message.text,
        found=tuple(_found(f, dialect, store) for f in outcome.found),
        files=tuple(keep(store[h], out) for h in outcome.handles),
    )


async def _call(tool: Tool, call: ToolCall, store: Store, dialect: Hermes) -> Message:
    box = Toolbox([tool])
    try:
        return (await box.run([call], store, dialect, store.size))[0]
    finally:
        await box.close()


def _filled(spec: ToolSpec, given: dict[str, Json], store: Store) -> dict[str, Json]:
    """Pictures that no argument names are taken in order; values are read from their files."""
    numbers = iter(range(1, 1 + len(store)))
    for param in spec.params:
        if param.kind is Kind.IMAGE and param.name not in given:
            number = next(numbers, None)
            if number is not None:
                given[param.name] = number
        elif param.kind is Kind.IMAGES and param.name not in given:
            given[param.name] = list(numbers)
        elif param.kind in VALUE_KINDS and isinstance(given.get(param.name), str):
            path = Path(str(given[param.name]))
            given[param.name] = store.add(read_value(path, param)).handle
    return given


def _refused(name: str, fault: Fault) -> str:
    hint = f" ({fault.hint})" if fault.hint else ""
    return f"{name} refused the call, {fault.code}: {fault.message}{hint}"


def _found(thing: Found, dialect: Hermes, store: Store) -> dict[str, Json]:
    body: dict[str, Json] = {"picture": thing.region.media, "label": thing.label}
    body["place"] = place(thing.region, dialect, store, store.size)
    if thing.score is not None:
        body["score"] = round(thing.score, 4)
    return {**body, **thing.facts}


def read_value(path: Path, param: Param) -> Value:
    """A video, a mask (picture file, set where it is not black), a table (JSON), a map or a cloud.

    Raises:
        MediaError: The file is not what the argument needs.
    """
    if param.kind is Kind.VIDEO:
        return Video.open(path)
    if param.kind is Kind.MASK:
        return Mask(Image.open(path).pixels.max(axis=2) > 0)
    if param.kind is Kind.TABLE:
        return Table(tuple(json.loads(path.read_text(encoding="utf-8"))))
    safe = require("safetensors", "train")
    try:
        with safe.safe_open(path, "np") as file:
            array, notes = file.get_tensor(param.kind.value), file.metadata() or {}
    except (OSError, safe.SafetensorError) as err:
        raise MediaError(
            f"{param.name} needs a safetensors file with a tensor {param.kind.value!r}, as this "
            f"command writes it; got {path}: {err}"
        ) from err
    if param.kind is Kind.CLOUD:
        return Cloud(array)
    camera = json.loads(notes["camera"]) if "camera" in notes else None
    metric = notes.get("metric") == "true"
    return DepthMap(array, metric=metric, camera=Camera(*camera) if camera else None)


def keep(entry: Entry, out: Path) -> Path:
    """Write a result to a file of its handle's name."""
    value = entry.value
    if isinstance(value, Image):
        return _write(out / f"{entry.handle}.png", value.encode())
    if isinstance(value, Mask):
        grey = np.repeat(value.cells[:, :, None].astype(np.uint8) * 255, 3, axis=2)
        return _write(out / f"{entry.handle}.png", Image(grey).encode())
    if isinstance(value, Table):
        rows = json.dumps([dict(r) for r in value.rows], ensure_ascii=False, indent=2)
        return _write(out / f"{entry.handle}.json", rows.encode())
    if isinstance(value, Clip):
        folder = out / entry.handle
        folder.mkdir(exist_ok=True)
        for frame, time in zip(value.frames, value.times_s, strict=True):
            _write(folder / f"{time:010.3f}.png", frame.encode())
        return folder
    path = out / f"{entry.handle}.safetensors"
    if isinstance(value, Video):
        return value.path
    notes = {}
    if isinstance(value, DepthMap):
        array, notes["metric"] = value.values, "true" if value.metric else "false"
        if value.camera is not None:
            notes["camera"] = json.dumps(astuple(value.camera))
    else:
        array = value.points
    require("safetensors.numpy", "train").save_file({entry.kind: array}, path, notes)
    return path


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
