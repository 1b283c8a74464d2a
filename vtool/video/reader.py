"""Who decodes: our own worker, or a library that people have. All give the same frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image as PILImage

from vtool.errors import require
from vtool.geometry import Size
from vtool.registry import Registry
from vtool.video.cache import Cut, Pixels
from vtool.video.errors import VideoError
from vtool.video.index import Table
from vtool.video.pool import shared_pool

SAME = ("mov", "matroska")
"""Containers of which other libraries give the same frames; their tests hold them to it."""
NEAR = 4
"""A keyframe this many frames ahead is decoded to, not sought."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A file, and how its frames are wanted."""

    path: str
    size: Size
    turn: int
    seconds: float
    """Deadline; after it the worker is killed."""
    threads: int = 1
    cut: Cut | None = None
    """The part of each frame that is wanted, in pixels of that size; all of it if left out."""
    container: str = ""
    """Its format, by libav's name."""

    def request(self, op: str, **more: object) -> dict[str, Any]:
        """As the worker reads it."""
        shape = {"size": list(self.size), "turn": self.turn, "cut": self.cut}
        return {"op": op, "path": self.path, "threads": self.threads, **shape, **more}


class Reader(Protocol):
    """Gives frames by their row in the table of times."""

    def read(self, shot: Shot, table: Table, rows: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """Rows with their pixels, uint8 (H, W, 3), in order; those that are lost are left out.

        Args:
            shot: The file and the size.
            table: Presentation times of its frames.
            rows: Rising.

        Raises:
            VideoError: It cannot be read, or not in time.
        """
        ...


class WorkerReader:
    """libav in a process of its own, which is killed when it is late."""

    def read(self, shot: Shot, table: Table, rows: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """See `Reader`."""
        if table.counted:
            request = shot.request("counted", rows=list(rows))
        else:
            near = NEAR * table.step
            request = shot.request("exact", wants=wants(table, rows), near=near)
        for body, blob in shared_pool().ask(request, shot.seconds):
            if "row" in body:
                yield body["row"], blob.reshape(body["shape"])


def wants(table: Table, rows: Sequence[int]) -> list[list[int]]:
    """For each row: row, pts, pts of its keyframe, where to seek for that and the one before."""
    at = np.asarray(rows, dtype=np.int64)
    key = np.maximum(np.searchsorted(table.keys, at, side="right") - 1, 0)
    earlier = np.maximum(key - 1, 0)
    columns = (
        at,
        table.pts[at],
        table.key_pts[key],
        table.seeks[key],
        table.seeks[earlier],
    )
    rows_of: list[list[int]] = np.stack(columns, axis=1).tolist()
    return rows_of


class DecordReader:
    """decord, in this process: no deadline, no bound. For those who trust their files."""

    def read(self, shot: Shot, table: Table, rows: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """See `Reader`."""
        decord = require("decord", "decord")
        check_container("decord", shot.container)
        with foreign("decord"):
            file = decord.VideoReader(shot.path, num_threads=shot.threads)
            check_count("decord", len(file), len(table))
            for row in rows:
                yield row, fitted(file[int(row)].asnumpy(), shot)


class TorchcodecReader:
    """torchcodec, in this process: no deadline, no bound. For those who trust their files."""

    def read(self, shot: Shot, table: Table, rows: Sequence[int]) -> Iterator[tuple[int, Pixels]]:
        """See `Reader`."""
        decoders = require("torchcodec.decoders", "torchcodec")
        check_container("torchcodec", shot.container)
        options = {"dimension_order": "NHWC", "num_ffmpeg_threads": shot.threads}
        with foreign("torchcodec"):
            file = decoders.VideoDecoder(shot.path, **options)
            check_count("torchcodec", len(file), len(table))
            for row in rows:
                yield row, fitted(file[int(row)].numpy(), shot)


@contextlib.contextmanager
def foreign(reader: str) -> Iterator[None]:
    """Whatever another library raises is said in our words.

    Raises:
        VideoError: It raised something.
    """
    try:
        yield
    except VideoError:
        raise
    except Exception as err:
        raise VideoError(f"{reader} could not read the video: read it with pyav") from err


def check_container(reader: str, container: str) -> None:
    """Other libraries are asked only where they were seen to give the same frames.

    Of MPEG transport streams and of AVI files with B-frames, decord 0.6.0 and torchcodec 0.13.0
    gave wrong frames, or none.

    Raises:
        VideoError: Not so for this container.
    """
    if not container.startswith(SAME):
        raise VideoError(f"{reader} is not asked for frames of {container}: read it with pyav")


def check_count(reader: str, theirs: int, ours: int) -> None:
    """Another library must see as many frames, or its numbers mean other ones.

    Raises:
        VideoError: It does not.
    """
    if theirs != ours:
        raise VideoError(
            f"{reader} counts {theirs} frames where the table of times has {ours}: read this "
            "file with pyav"
        )


def fitted(pixels: Pixels, shot: Shot) -> Pixels:
    """At the size and cut that are wanted, if it is not so already."""
    if (pixels.shape[1], pixels.shape[0]) != tuple(shot.size):
        resized = PILImage.fromarray(pixels).resize(shot.size, PILImage.Resampling.BICUBIC)
        pixels = np.asarray(resized)
    x0, y0, x1, y1 = shot.cut or (0, 0, *shot.size)
    whole: Pixels = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    return whole


readers: Registry[Reader] = Registry("video reader", "vtool.readers")
"""All readers by name. Published packages add theirs through the entry point group."""
readers.add("pyav", WorkerReader())
readers.add("decord", DecordReader())
readers.add("torchcodec", TorchcodecReader())
