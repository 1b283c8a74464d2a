"""A box track in an answer: boxes at times, in coordinates that the caller declares.

Two ways of writing are read: JSON, ``[{"time": 3.2, "box": [x1, y1, x2, y2]}, ...]``, and lines,
``3.2 s: [x1, y1, x2, y2]``. What fits neither is not read; the reason is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vtool.dialects.jsontext import read_json
from vtool.errors import GeometryError, ModelFault
from vtool.geometry import Convention, Size
from vtool.track import Track

MAX_TRACK = 20_000
"""Longer answers are not read."""
_N = r"-?[0-9]+(?:\.[0-9]+)?"
_LINE = re.compile(
    rf"\s*({_N})\s*(?:s|seconds?)?\s*:\s*\[\s*({_N})\s*,\s*({_N})\s*,\s*({_N})\s*,\s*({_N})\s*\]\s*[,;]?\s*"
)
_KEYS = {"time", "box"}


@dataclass(frozen=True, slots=True)
class TrackReading:
    """What an answer says about a thing's way.

    Args:
        track: None where nothing can be read without a guess.
        reason: Why nothing was read.
    """

    track: Track | None
    reason: str = ""


def read_track(
    text: str | None, convention: Convention, *, original: Size, shown: Size | None = None
) -> TrackReading:
    """Read a track.

    Args:
        text: The answer; None where there was none.
        convention: Units and order of its boxes.
        original: Width and height of the video's frames.
        shown: Size at which the model saw them, where the units count shown pixels.
    """
    if text is None or not text.strip():
        return TrackReading(None, "there is no answer")
    if len(text) > MAX_TRACK:
        return TrackReading(None, f"the answer has more than {MAX_TRACK} characters")
    try:
        rows = list(_json(text) if text.lstrip().startswith("[{") else _lines(text))
        boxes = tuple(convention.read_box(b, original=original, shown=shown) for _, b in rows)
        return TrackReading(Track(tuple(t for t, _ in rows), boxes))
    except (GeometryError, ModelFault, ValueError) as err:
        return TrackReading(None, str(err))


def write_track(track: Track, convention: Convention, *, original: Size) -> str:
    """A track as lines; `read_track` reads it back, to the tenth of a second."""
    rows = zip(track.times_s, track.boxes, strict=True)
    return "\n".join(
        f"{time:.1f} s: {convention.write_box(box, original=original)}" for time, box in rows
    )


def _json(text: str) -> Iterator[tuple[float, list[float]]]:
    rows = read_json(text)
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or set(row) != _KEYS:
            raise ValueError(f"expected objects with 'time' and 'box', got {str(row)[:60]}")
        box, time = row["box"], row["time"]
        if not isinstance(box, list) or not all(map(_number, (*box, time))):
            raise ValueError(f"expected a number and a list of numbers, got {str(row)[:60]}")
        yield float(time), [float(v) for v in box]  # type: ignore[arg-type]


def _lines(text: str) -> Iterator[tuple[float, list[float]]]:
    for line in text.strip().splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"expected lines such as '3.2 s: [x1, y1, x2, y2]', got {line[:60]!r}")
        time, *box = (float(v) for v in found.groups())
        yield time, box


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
