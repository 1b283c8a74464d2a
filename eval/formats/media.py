"""Pictures, masks and videos of a row, opened when the task is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from vtool.errors import DataError, MediaError
from vtool.geometry import Mask, Span
from vtool.media import Clip, Image
from vtool.picture_file import inside
from vtool.video.source import Video

from .records import Record


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be decoded.

    Args:
        where: Whose it is, for messages.
        load: Decodes it.
        path: Its file, where it is one.
    """

    where: str
    load: Callable[[], Image | tuple[Image, ...]]
    path: Path | None = None

    def open(self) -> tuple[Image, ...]:
        """Decode it, or them.

        Raises:
            DataError: It is no picture.
        """
        try:
            got = self.load()
            return got if isinstance(got, tuple) else (got,)
        except MediaError as err:
            raise DataError(f"{self.where}: {err}") from err


@dataclass(frozen=True, slots=True)
class Film:
    """A video file, and how many of its frames the question shows beside it.

    Args:
        where: Whose it is, for messages.
        path: The file.
        glance: Frames shown, evenly over its length; 0 shows none, tools look into it.
        part: Seconds to which those frames keep, where the question is about a part.
    """

    where: str
    path: Path
    glance: int = 0
    part: tuple[float, float] | None = None

    def open(self) -> tuple[Video | Clip, ...]:
        """Open it, and decode what is shown.

        Raises:
            DataError: It is no video that can be read.
        """
        try:
            video = Video.open(self.path)
            if not self.glance:
                return (video,)
            start, end = self.part or (0.0, video.duration_s)
            step = (end - start) / self.glance
            times = [start + step * (i + 0.5) for i in range(self.glance)]
            return (video, video.clip(times))
        except MediaError as err:
            raise DataError(f"{self.where}: {self.path.name}: {err}") from err


Medium: TypeAlias = Picture | Film


def picture(record: Record, name: str) -> Picture:
    """A picture of the hub's `Image` feature: bytes, alone or in a struct."""
    return Picture(record.where, lambda: _decoded(record, name, record[name]))


def album(record: Record, names: Sequence[str]) -> Picture:
    """Those of several columns that hold a picture; which ones, is seen when it is opened."""

    def load() -> tuple[Image, ...]:
        cells = [(n, record[n]) for n in names]
        return tuple(_decoded(record, n, c) for n, c in cells if c is not None)

    return Picture(record.where, load)


def _decoded(record: Record, name: str, cell: object) -> Image:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise DataError(
            f"{record.where}: expected the bytes of a picture in {name!r}, got "
            f"{type(data).__name__}: save the data set with its pictures embedded"
        )
    return Image.decode(data)


def base64_picture(record: Record, name: str) -> Picture:
    """A picture in a cell as base64 text."""
    return Picture(record.where, lambda: Image.decode_text(record.text(name)))


def file_picture(record: Record, root: Path, name: str) -> Picture:
    """A picture file below the root.

    Raises:
        DataError: The name leaves the root.
    """
    path = below(record.where, root, name)
    return Picture(record.where, lambda: Image.open(path), path)


def film(record: Record, root: Path, name: str, glance: int = 0) -> Film:
    """A video file below the root.

    Raises:
        DataError: The name leaves the root.
    """
    return Film(record.where, below(record.where, root, name), glance)


def below(where: str, root: Path, name: str) -> Path:
    """A path below a root.

    Raises:
        DataError: It leaves it.
    """
    try:
        return inside(root, name)
    except MediaError as err:
        raise DataError(f"{where}: {err}") from err


def mask_of(image: Image, above: int = 127) -> Mask:
    """The cells of a picture that are brighter than a level, by its first channel."""
    return Mask(image.pixels[:, :, 0] > above)


def span_of(where: str, start: float, end: float) -> Span:
    """A stretch of time, as annotated.

    Raises:
        DataError: It has no length, or begins before the film.
    """
    if not (0 <= start < end and np.isfinite(end)):
        raise DataError(f"{where}: expected 0 <= start < end in seconds, got {start} and {end}")
    return Span(float(start), float(end))
