"""What is known of a file: its head, and the table of true presentation times.

Tables are kept in a cache folder under the digest of the file's content, never beside the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Size

_MAGIC = b"vtool-video-table 1\n"
_ARRAYS = ("pts", "keys", "key_pts", "seeks")


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of itself, and what its first frame showed."""

    time_base: tuple[int, int]
    """Seconds of one stream unit, as a fraction."""
    size: Size
    """Width and height as shown: square pixels, upright."""
    coded: Size
    sar: tuple[int, int]
    """Shape of a stored pixel, width to height."""
    turn: int
    """Quarter turns, counter-clockwise, that were applied."""
    interlaced: bool
    """Fields are shown woven, as they are stored."""
    first_pts: int
    """Time of the first frame in stream units: the zero of all times told."""
    duration_s: float
    """As the container says; a whole table knows better."""
    frames: int
    """As the container says, 0 where it does not."""
    entry_keys: tuple[int, ...]
    """Decode times of keyframes, where the container lists them."""
    codec: str
    container: str
    subtitles: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Head:
        """From the worker's words."""
        lists: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
        return cls(**lists)

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs from the frames as they are stored."""
        said = []
        if self.turn:
            said.append(f"turned by {self.turn * 90} degrees as the file asks")
        if self.sar != (1, 1):
            said.append(f"pixels of {self.sar[0]}:{self.sar[1]} made square")
        if self.interlaced:
            said.append("interlaced: both fields of a frame are seen at once")
        return tuple(said)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Frames of a file, or of a part of it, in the order in which they are shown.

    Args:
        pts: int64 (N,), rising, stream units.
        keys: int64 (K,), rows from which decoding can begin.
        key_pts: int64 (K,), times of their keyframes: earlier than the row's own where an edit
            list shows only what comes after the keyframe.
        seeks: int64 (K,), where to seek for them.
        end: When the last frame ends.
        counted: Packets carry no times: frames can only be counted from the start.
    """

    pts: NDArray[np.int64]
    keys: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    seeks: NDArray[np.int64]
    end: int
    counted: bool

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Table:
        """From the worker's words."""
        arrays = {k: np.asarray(body[k], dtype=np.int64) for k in _ARRAYS}
        return cls(**arrays, end=int(body["end"]), counted=bool(body["counted"]))

    def __len__(self) -> int:
        return len(self.pts)

    def row_at(self, pts: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows of the frames that are on the screen at these times (stream units)."""
        rows = np.searchsorted(self.pts, pts, side="right") - 1
        return np.clip(rows, 0, len(self.pts) - 1).astype(np.int64)

    @property
    def step(self) -> int:
        """The usual distance of two frames."""
        return int(np.median(np.diff(self.pts))) if len(self.pts) > 1 else 1


def cache_folder() -> Path:
    """Where tables are kept: `VTOOL_CACHE`, or the user's cache folder."""
    given = os.environ.get("VTOOL_CACHE")
    if given:
        return Path(given) / "video"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vtool" / "video"


def known_digest(path: Path, stamp: tuple[int, int, int]) -> str | None:
    """Digest of a file that was read before and has size, time of change and inode as then."""
    try:
        text = _note(path, stamp).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if len(text) == 64 and text.isalnum() else None


def keep_digest(path: Path, stamp: tuple[int, int, int], digest: str) -> None:
    """Remember the digest of a file; where that is not possible, nothing is kept."""
    _write(_note(path, stamp), digest.encode())


def _note(path: Path, stamp: tuple[int, int, int]) -> Path:
    name = hashlib.sha256(f"{path}|{stamp}".encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / f"{name}.digest"


def keep(digest: str, head: Head, table: Table) -> None:
    """Write head and table; where that is not possible, nothing is kept."""
    path = _file(digest)
    words = {"head": asdict(head), "end": table.end, "counted": table.counted}
    counts = {"rows": len(table.pts), "keys": len(table.keys)}
    text = json.dumps({**words, **counts}).encode()
    arrays = b"".join(a.astype("<i8").tobytes() for a in (getattr(table, k) for k in _ARRAYS))
    _write(path, _MAGIC + text + b"\n" + arrays)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        return


def kept(digest: str) -> tuple[Head, Table] | None:
    """What was kept for a file of this content; None where nothing is, or it is damaged."""
    try:
        data = _file(digest).read_bytes()
        magic, text, rest = data[: len(_MAGIC)], *data[len(_MAGIC) :].split(b"\n", 1)
        body = json.loads(text)
        rows, keys = int(body["rows"]), int(body["keys"])
        if magic != _MAGIC or len(rest) != 8 * (rows + 3 * keys) or rows < 1 or keys < 1:
            return None
        values = np.frombuffer(rest, "<i8").astype(np.int64)
        parts = np.split(values, [rows, rows + keys, rows + 2 * keys])
        arrays = dict(zip(_ARRAYS, parts, strict=True))
        return Head.of(body["head"]), Table.of({**body, **arrays})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(digest: str) -> Path:
    return cache_folder() / f"{digest}.table"
