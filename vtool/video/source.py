"""A video of an episode: a handle on a file, its times, and frames on demand.

Nothing of it lies in memory but the table of times. Times are seconds from the first frame,
computed from the presentation time stamps of the file, never from an index and an average rate.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Size, Span
from vtool.media import Clip, Image
from vtool.video import index
from vtool.video.cache import FRAMES, Cut, FrameKey, Pixels
from vtool.video.errors import ReaderError, VideoError
from vtool.video.index import Head, Table
from vtool.video.pool import shared_pool
from vtool.video.reader import Shot, readers

LONG_FRAMES = 400_000
"""Files of more frames (3.7 hours at 30 a second) are never walked through from end to end."""
SECONDS = 20.0
"""Deadline of one reading; below that of a tool call."""

_Fetch: TypeAlias = Callable[[list[int]], Iterator[tuple[int, Pixels]]]


class Mode(StrEnum):
    """Which frame stands for a time."""

    EXACT = "exact"
    """The one that is on the screen then."""
    KEYFRAME = "keyframe"
    """The nearest one that decodes alone: many times cheaper, and its true time is told."""


@dataclass(slots=True)
class _Memory:
    """What was learnt of a file since it was opened."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    whole: Table | None = None
    part: tuple[Span, Table] | None = None
    key_pts: dict[int, int] = field(default_factory=dict)
    """Presentation time of keyframes by decode time, for files without a whole table."""


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """A video file that was opened; make one with `Video.open`."""

    path: Path
    digest: str
    """SHA-256 of the file, hexadecimal."""
    head: Head
    stamp: tuple[int, int, int]
    """Size, time of change and inode when it was opened."""
    reader: str = "pyav"
    seconds: float = SECONDS
    threads: int = 1
    _memory: _Memory = field(default_factory=_Memory, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Video) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        reader: str = "pyav",
        seconds: float = SECONDS,
        threads: int = 1,
    ) -> Video:
        """Open a file; one frame is decoded as proof that it is a video.

        Args:
            path: A regular file; addresses and playlists are refused.
            reader: Who decodes frames: `pyav` (in a process that can be killed), `decord` or
                `torchcodec`.
            seconds: Deadline of each reading.
            threads: Of the decoder.

        Raises:
            VideoError: It is no video that may be read, or not in time.
            UnknownName: No such reader.
        """
        readers.get(reader)
        place = Path(os.path.abspath(path))
        stamp = _stamp(place)
        digest = index.known_digest(place, stamp)
        if digest is None:
            digest = _digest(place, stamp)
            index.keep_digest(place, stamp, digest)
        known = index.kept(digest)
        head = known[0] if known else _read_head(place, seconds, threads)
        return cls(place, digest, head, stamp, reader, seconds, threads)

    @classmethod
    def restore(cls, path: Path, head: Head) -> Video:
        """A video of a trace: its file, and what was known of it. Nothing is decoded."""
        place = Path(os.path.abspath(path))
        stamp = _stamp(place)
        return cls(place, _digest(place, stamp), head, stamp)

    @property
    def size(self) -> Size:
        """Width and height of a frame as shown: square pixels, upright."""
        return self.head.size

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        if self._memory.whole is None and is_long(self.head):
            return self.head.duration_s
        return self._seconds(self.table().end)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """float64 (N,): when each frame appears.

        Raises:
            VideoError: The file is too long for that, or cannot be read.
        """
        if is_long(self.head):
            raise VideoError("the video is too long for a table of all its frames: name a stretch")
        return self._all_seconds(self.table().pts)

    @property
    def frames(self) -> int:
        """How many frames there are; of very long files, as the container says."""
        if self._memory.whole is None and is_long(self.head):
            return self.head.frames
        return len(self.table())

    def frames_in(self, span: Span) -> int:
        """How many frames a stretch has; of very long files an estimate, and nothing is read."""
        if is_long(self.head):
            share = (span.end_s - span.start_s) / max(self.head.duration_s, 1e-9)
            return round(self.head.frames * min(1.0, share))
        return len(self.frame_times(span))

    def describe(self) -> str:
        """Length, size and what was done to its frames, in a few words."""
        width, height = self.size
        return ", ".join([f"{self.duration_s:.2f} s", f"{width}x{height}", *self.head.notes])

    def table(self, span: Span | None = None) -> Table:
        """Presentation times of all frames; of very long files, of a stretch and around it.

        Raises:
            VideoError: The file cannot be read.
        """
        memory = self._memory
        with memory.lock:
            if memory.whole is None and (known := index.kept(self.digest)):
                memory.whole = known[1]
            if memory.whole is not None:
                return memory.whole
            if is_long(self.head) and span is not None:
                return self._part(span)
            memory.whole = self._scan(None, None)
            index.keep(self.digest, self.head, memory.whole)
            return memory.whole

    def clip(
        self,
        times_s: Sequence[float],
        *,
        size: Size | None = None,
        cut: Cut | None = None,
        mode: Mode = Mode.EXACT,
    ) -> Clip:
        """Frames at some times, each once, with the times at which they truly appear.

        Args:
            times_s: Seconds from the first frame; those outside count as the nearest inside.
            size: Width and height of the frames; those of the video where left out.
            cut: The part of each frame that is wanted: x0, y0, x1, y1 in pixels of `size`.
            mode: Which frame stands for a time.

        Raises:
            VideoError: None of the frames can be read, or not in time.
        """
        if not times_s:
            raise VideoError("a clip needs at least one time")
        self.check_unchanged()
        shot = self._shot(size, cut)
        wanted = [min(max(0.0, float(t)), self.duration_s) for t in times_s]
        got = self._snapped(shot, wanted) if mode is Mode.KEYFRAME else self._exact(shot, wanted)
        frames = sorted(got.items())
        if not frames:
            raise VideoError("none of the frames asked for could be decoded")
        times = tuple(self._seconds(pts) for pts, _ in frames)
        return Clip(tuple(Image(pixels) for _, pixels in frames), times)

    def frame_times(self, span: Span) -> NDArray[np.float64]:
        """When the frames of a stretch appear, the one on screen at its start included."""
        table = self.table(span)
        low, high = self._units([span.start_s, span.end_s])
        first = int(table.row_at(np.asarray([low]))[0])
        last = int(np.searchsorted(table.pts, high, side="left"))
        return self._all_seconds(table.pts[first : max(last, first + 1)])

    def key_times(self, span: Span) -> NDArray[np.float64]:
        """When the keyframes of a stretch appear; nearly so for very long files."""
        keys, _ = self._keys()
        times = self._all_seconds(keys)
        return times[(times >= span.start_s - 1e-9) & (times < span.end_s)]

    def check_unchanged(self) -> None:
        """Refuse a file that is no longer the one that was opened.

        Raises:
            ReaderError: It was changed or taken away: what was seen before no longer holds.
        """
        try:
            now = _stamp(self.path)
        except VideoError as err:
            raise ReaderError(f"{self.path.name} was taken away after it was opened") from err
        if now != self.stamp:
            raise ReaderError(f"{self.path.name} was changed after it was opened: start again")

    def _exact(self, shot: Shot, times: list[float]) -> dict[int, Pixels]:
        # Half a microsecond: a time that was told, and is asked for again, is the same frame.
        span = Span(max(0.0, min(times) - 1.0), max(times) + 1.0)
        table = self.table(span)
        rows = np.unique(table.row_at(self._units([t + 5e-7 for t in times])))
        pts = [int(p) for p in table.pts[rows]]
        return self._through_cache(shot, pts, lambda missing: self._read(shot, table, missing))

    def _read(self, shot: Shot, table: Table, pts: list[int]) -> Iterator[tuple[int, Pixels]]:
        rows = np.searchsorted(table.pts, pts).tolist()
        for row, pixels in readers.get(self.reader).read(shot, table, rows):
            yield int(table.pts[row]), pixels

    def _snapped(self, shot: Shot, times: list[float]) -> dict[int, Pixels]:
        keys, seeks = self._keys()
        chosen = np.unique(nearest_keys(keys, self._units(times)))
        if not is_long(self.head) and (self.reader != "pyav" or self._odd):
            return self._exact(shot, self._all_seconds(keys[chosen]).tolist())
        held = self._memory.key_pts
        whole = self._memory.whole is not None
        places: dict[int, tuple[int, int | None]] = {}
        for k in chosen:
            seek, pts = int(seeks[k]), int(keys[k])
            # Unknown times get a name that no frame has until the keyframe has been seen.
            places[pts if whole else held.get(seek, -1 - seek)] = (seek, pts if whole else None)
        return self._through_cache(
            shot, list(places), lambda missing: self._snap(shot, [places[p] for p in missing])
        )

    def _snap(
        self, shot: Shot, places: list[tuple[int, int | None]]
    ) -> Iterator[tuple[int, Pixels]]:
        answers = shared_pool().ask(shot.request("keyframes", places=places), shot.seconds)
        for body, blob in answers:
            if "row" in body:
                self._memory.key_pts[places[body["row"]][0]] = body["pts"]
                yield body["pts"], blob.reshape(body["shape"])

    def _through_cache(self, shot: Shot, pts: list[int], read: _Fetch) -> dict[int, Pixels]:
        """Frames from the cache; the others are read once, however many ask at the same time."""
        with _reading(self.digest):
            keys = {p: _key(self, p, shot) for p in pts}
            found = FRAMES.get(list(keys.values()))
            have = {p: found[k] for p, k in keys.items() if k in found}
            missing = [p for p in pts if p not in have]
            if missing:
                fresh = dict(read(missing))
                FRAMES.put({_key(self, p, shot): pixels for p, pixels in fresh.items()})
                have |= fresh
        return have

    @property
    def _odd(self) -> bool:
        """Whether no keyframe of the file can be sought and shown."""
        table = self.table()
        return table.counted or not (table.key_pts == table.pts[table.keys]).any()

    def _keys(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Presentation time (nearly, for very long files) and place of each keyframe."""
        if self._memory.whole is None and is_long(self.head):
            keys = self._entry_keys()
            return keys, keys
        table = self.table()
        shown = table.key_pts == table.pts[table.keys]
        if not shown.any():
            return table.pts[:1], table.seeks[:1]
        return table.key_pts[shown], table.seeks[shown]

    def _entry_keys(self) -> NDArray[np.int64]:
        """The container's list of keyframes: decode times, shifted to start as presentation does.

        Demuxers take what is sought for presentation times and shift it back.
        """
        entries = np.asarray(self.head.entry_keys, dtype=np.int64)
        shifted: NDArray[np.int64] = entries - entries[0] + self.head.first_pts
        return shifted

    def _part(self, span: Span) -> Table:
        held = self._memory.part
        if held and held[0].start_s <= span.start_s and span.end_s <= held[0].end_s:
            return held[1]
        low, high = (int(u) for u in self._units([span.start_s, span.end_s]))
        keys = self._entry_keys()
        # These are nearly presentation times: one keyframe earlier is surely early enough.
        at = max(0, int(np.searchsorted(keys, low, side="right")) - 2)
        table = self._scan(int(keys[at]), high)
        self._memory.part = (span, table)
        return table

    def _scan(self, low: int | None, high: int | None) -> Table:
        self.check_unchanged()
        request = self._shot().request("scan", low=low, high=high)
        return Table.of(shared_pool().ask(request, self.seconds)[0][0])

    def _shot(self, size: Size | None = None, cut: Cut | None = None) -> Shot:
        path, turn = str(self.path), self.head.turn
        bounds = (self.seconds, self.threads)
        return Shot(path, size or self.size, turn, *bounds, cut, self.head.container)

    def _units(self, times_s: Sequence[float]) -> NDArray[np.float64]:
        num, den = self.head.time_base
        return np.asarray(times_s, dtype=np.float64) * den / num + self.head.first_pts

    def _seconds(self, pts: int) -> float:
        num, den = self.head.time_base
        return (pts - self.head.first_pts) * num / den

    def _all_seconds(self, pts: NDArray[np.int64]) -> NDArray[np.float64]:
        num, den = self.head.time_base
        return (pts - self.head.first_pts) * num / den


def is_long(head: Head) -> bool:
    """Whether a file must not be walked through, and can do without."""
    return head.frames > LONG_FRAMES and len(head.entry_keys) > 1


def nearest_keys(keys: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the keyframe nearest to each time."""
    after = np.clip(np.searchsorted(keys, at), 1, max(1, len(keys) - 1))
    if len(keys) == 1:
        return np.zeros(len(at), dtype=np.int64)
    closer_before = at - keys[after - 1] <= keys[after] - at
    return np.where(closer_before, after - 1, after).astype(np.int64)


_locks = [threading.Lock() for _ in range(64)]
"""One reading of a file at a time: those who come second find its frames in the cache."""


def _reading(digest: str) -> threading.Lock:
    return _locks[int(digest[:8], 16) % len(_locks)]


def _key(video: Video, pts: int, shot: Shot) -> FrameKey:
    return (video.digest, video.reader, pts, *shot.size, shot.cut)


def _read_head(path: Path, seconds: float, threads: int) -> Head:
    request = Shot(str(path), (0, 0), 0, seconds, threads).request("head")
    return Head.of(shared_pool().ask(request, seconds)[0][0])


def _stamp(path: Path) -> tuple[int, int, int]:
    """Size, time of change, inode.

    Raises:
        VideoError: Nothing is there, or no regular file.
    """
    try:
        info = os.stat(path)
    except (OSError, ValueError) as err:
        raise VideoError("there is no such video file") from err
    if not stat.S_ISREG(info.st_mode):
        raise VideoError("expected a video file, got something else (a folder, pipe or device)")
    return (info.st_size, info.st_mtime_ns, info.st_ino)


@lru_cache(maxsize=1024)
def _digest(path: Path, stamp: tuple[int, int, int]) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise VideoError("the video file cannot be read") from err
