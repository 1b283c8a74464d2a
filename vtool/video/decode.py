"""Frames out of an open file: exact ones, counted ones, keyframes.

Only the worker imports this. Frames come out at the size asked for, scaled once by swscale from
the decoder's own planes, upright, with square pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vtool.video.libav import Open, frames_of, packets_of, rest


@dataclass(frozen=True, slots=True)
class Want:
    """One frame, and the keyframe from which it can be decoded."""

    row: int
    pts: int
    key: int
    """Pts of that keyframe."""
    seek: int
    """Where to seek for it."""
    earlier: int
    """Where to seek for the one before it, for files whose keyframes are not clean starts."""


def exact(file: Open, wants: Sequence[Want], near: int) -> Iterator[tuple[int, VideoFrame]]:
    """The frames asked for, in order of time, each with its row; lost ones are left out.

    Args:
        file: The file.
        wants: In order of time.
        near: A keyframe this little ahead (stream units) is decoded to, not sought.
    """
    file.wanted.clear()
    file.wanted.update(w.pts for w in wants)
    for want in wants:
        if not _can_go_on(file, want, near):
            _start(file, want.seek, want.key)
        frame = _forward(file, want)
        if frame is None:
            frame = _carefully(file, want)
        if frame is not None:
            yield want.row, frame


def _carefully(file: Open, want: Want) -> VideoFrame | None:
    """Not from that keyframe: from the one before, then from the start, leaving nothing out."""
    for seek in (want.earlier, min(want.earlier, file.stream.start_time or 0)):
        _start(file, seek, want.key, careful=True)
        frame = _forward(file, want)
        if frame is not None:
            return frame
    return None


def _can_go_on(file: Open, want: Want, near: int) -> bool:
    if file.run is None or file.at is None or want.pts in file.skipped:
        return False
    if file.gave and file.at >= want.pts:
        return False
    return want.key <= file.at + near


def _start(file: Open, seek: int, key: int, *, careful: bool = False) -> None:
    rest(file)
    file.container.seek(seek, stream=file.stream, backward=True)
    wanted: set[int] | tuple[()] = () if careful else file.wanted
    file.run, file.at = frames_of(file, file.container.demux(file.stream), wanted), key


def _forward(file: Open, want: Want) -> VideoFrame | None:
    assert file.run is not None
    for frame in file.run:
        if frame.pts is None:
            continue
        file.at, file.gave = frame.pts, True
        if frame.pts == want.pts:
            return frame
        if frame.pts > want.pts:
            return None
    file.run = None
    return None


def counted(file: Open, rows: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of these rows of a file just opened whose packets carry no times: counted."""
    wanted = set(rows)
    for row, frame in enumerate(frames_of(file, file.container.demux(file.stream), ())):
        if row in wanted:
            yield row, frame
        if row >= max(wanted):
            return


def keyframes(file: Open, places: Sequence[tuple[int, int | None]]) -> Iterator[Any]:
    """One keyframe for each place: its packet alone is decoded, and the decoder drained.

    Args:
        file: The file.
        places: Where to seek, and the keyframe's own time where it is known.
    """
    context = file.stream.codec_context
    for i, (seek, pts) in enumerate(places):
        rest(file)
        file.container.seek(seek, stream=file.stream, backward=True)
        for packet in packets_of(file):
            late = pts is None or (packet.pts is not None and packet.pts >= pts)
            if packet.size and packet.is_keyframe and not packet.is_discard and late:
                break
        else:
            continue
        try:
            got = [*context.decode(packet), *context.decode(None)]
        except av.error.FFmpegError:
            continue
        finally:
            context.flush_buffers()
        file.decoded += len(got)
        if got and got[0].pts is not None:
            yield i, got[0]


def pixels(
    frame: VideoFrame, size: tuple[int, int], turn: int, cut: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """uint8 (H, W, 3), RGB, upright.

    Args:
        frame: As decoded.
        size: Width and height to which the whole frame is scaled.
        turn: Quarter turns, counter-clockwise.
        cut: x0, y0, x1, y1 of the part of it that is wanted.
    """
    width, height = size if turn % 2 == 0 else (size[1], size[0])
    rgb = frame.reformat(width, height, "rgb24", interpolation="BICUBIC", threads=1)
    upright = np.rot90(rgb.to_ndarray(), turn) if turn else rgb.to_ndarray()
    x0, y0, x1, y1 = cut or (0, 0, *size)
    return np.ascontiguousarray(upright[y0:y1, x0:x1])
