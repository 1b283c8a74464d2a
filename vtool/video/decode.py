"""What the worker process does with libav: heads, tables of times, exact frames, keyframes.

Only the worker imports this. Frames come out at the size asked for, scaled once by swscale from
the decoder's own planes, upright, with square pixels. A container or a codec that is not on the
list is refused before any frame of it is decoded.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,gif"
CODECS = frozenset(
    {
        *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "libaom-av1"),
        *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4", "h263", "flv"),
        *("wmv1", "wmv2", "vc1", "mjpeg", "theora", "prores", "dnxhd", "ffv1", "huffyuv"),
        *("rawvideo", "png", "gif"),
    }
)
SKIPPING = frozenset({"h264", "hevc", "mpeg4", "mpeg2video"})
"""Decoders that obey `skip_frame` from one packet to the next."""
MAX_PIXELS = 64_000_000


class Refused(Exception):
    """A video that is not read; the argument is a word of `errors.REASONS`."""


@dataclass(slots=True)
class Open:
    """A file held open, and where its decoder is."""

    container: Any
    stream: Any
    run: Iterator[VideoFrame] | None = None
    """The decoding that goes on, if any."""
    at: int | None = None
    """Pts of the last frame that it gave, or of the keyframe where it began."""
    gave: bool = False
    wanted: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    """Pts that were fed to the decoder as not wanted."""
    decoded: int = 0
    """Frames that came out of the decoder since the file was opened."""


def open_video(path: str, threads: int) -> Open:
    """Open a file by the `file` protocol alone.

    Raises:
        Refused: Another container or codec, no video stream, too large.
    """
    options = only_files()
    try:
        container = av.open("file:" + path, container_options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as err:
        raise Refused("format") from err
    # Cover art of a song is a picture, not a video.
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        container.close()
        raise Refused("no_video")
    stream = streams[0]
    context = stream.codec_context
    if context is None or context.name not in CODECS:
        raise Refused("codec")
    if context.width * context.height > MAX_PIXELS:
        raise Refused("too_large")
    for other in container.streams:
        _read(other, other.index == stream.index)
    stream.thread_type = "AUTO"
    context.thread_count = threads
    return Open(container, stream)


def only_files() -> dict[str, str]:
    """Options under which no file makes libav open another one, or an address."""
    return {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}


def _read(stream: Any, wanted: bool) -> None:
    """Whether a demuxer reads the packets of a stream; older libraries read all."""
    discard = getattr(av.stream, "Discard", None)
    if discard is not None:
        stream.discard = discard.default if wanted else discard.all


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def head(path: str, threads: int) -> dict[str, Any]:
    """What is known without a walk through the file; one frame is decoded as proof.

    Raises:
        Refused: See `open_video`; `undecodable` where the proof fails.
    """
    file = open_video(path, threads)
    try:
        frame = first_frame(file)
        stream = file.stream
        base = stream.time_base
        keys = [(e.timestamp, e.is_keyframe) for e in stream.index_entries]
        sar = frame_sar(frame, stream)
        turn = quarter_turns(frame)
        return {
            "time_base": [base.numerator, base.denominator],
            "size": list(display_size(frame.width, frame.height, sar, turn)),
            "coded": [frame.width, frame.height],
            "sar": list(sar),
            "turn": turn,
            "interlaced": bool(frame.interlaced_frame),
            "first_pts": frame.pts,
            "duration_s": _duration(file),
            "frames": stream.frames or len(keys),
            "entry_keys": [t for t, is_key in keys if is_key] if len(keys) > 1 else [],
            "codec": stream.codec_context.name,
            "container": file.container.format.name,
            "subtitles": len(file.container.streams.subtitles),
        }
    finally:
        file.container.close()


def first_frame(file: Open) -> VideoFrame:
    """The first frame that can be decoded.

    Raises:
        Refused: There is none.
    """
    start: list[int | None] = []
    for frame in frames_of(file, _from_keyframe(file, start), ()):
        if frame.pts is None or start[0] is None or frame.pts >= start[0]:
            return frame
    raise Refused("undecodable")


def _from_keyframe(file: Open, start: list[int | None]) -> Iterator[Any]:
    """Packets from the first keyframe on, whose time is put into `start`."""
    for packet in _packets(file):
        if packet.is_keyframe and not start:
            start.append(packet.pts)
        if start:
            yield packet


def _duration(file: Open) -> float:
    stream = file.stream
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return float((file.container.duration or 0) / av.time_base)


def quarter_turns(frame: VideoFrame) -> int:
    """How often a frame must be turned counter-clockwise to stand upright."""
    return round(frame.rotation / 90) % 4


def frame_sar(frame: VideoFrame, stream: Any) -> tuple[int, int]:
    """Shape of a pixel, width to height; (1, 1) where nothing is said."""
    sar = stream.sample_aspect_ratio or getattr(frame, "sample_aspect_ratio", None)
    if not sar or sar <= 0 or not 1 / 16 <= sar <= 16:
        return (1, 1)
    return (sar.numerator, sar.denominator)


def display_size(width: int, height: int, sar: tuple[int, int], turn: int) -> tuple[int, int]:
    """Size with square pixels, upright; the short side of a pixel is stretched, none is lost."""
    wide = sar[0] / sar[1]
    if wide >= 1:
        width = round(width * wide)
    else:
        height = round(height / wide)
    return (height, width) if turn % 2 else (width, height)


def frames_of(file: Open, packets: Any, wanted: set[int] | tuple[()]) -> Iterator[VideoFrame]:
    """Frames in presentation order; damaged packets are passed over.

    Args:
        file: The file.
        packets: Where packets come from.
        wanted: Pts that must come out; others may be left out where the codec can do without.
            All come out where this is empty.
    """
    context = file.stream.codec_context
    skips = context.name in SKIPPING
    try:
        for packet in packets:
            if skips and wanted and packet.pts is not None:
                needed = packet.pts in wanted
                context.skip_frame = "DEFAULT" if needed else "NONREF"
                if not needed:
                    file.skipped.add(packet.pts)
            try:
                for frame in packet.decode():
                    file.decoded += 1
                    yield frame
            except av.error.FFmpegError:
                continue
    except av.error.FFmpegError:
        return
    finally:
        if skips:
            context.skip_frame = "DEFAULT"


def scan(file: Open, low: int | None, high: int | None) -> dict[str, Any]:
    """The table of times, from packets alone.

    Args:
        file: The file.
        low: Begin at the keyframe at or before this time (stream units); None for the start.
        high: End behind the second keyframe after this one; None for the end.

    Raises:
        Refused: `no_times`.
    """
    rest(file)
    if low is not None:
        file.container.seek(low, stream=file.stream, backward=True)
    shown: list[tuple[int, int]] = []
    keys: list[tuple[int, int]] = []
    beyond = 0
    for packet in _packets(file):
        if packet.size == 0:
            continue
        if packet.pts is None:
            return count_frames(file)
        if high is not None and packet.is_keyframe and packet.pts > high:
            beyond += 1
            if beyond > 1:
                break
        # What an edit list cuts off is not shown, but later frames may stand on its keyframe.
        if packet.is_keyframe:
            keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        if not packet.is_discard:
            shown.append((packet.pts, packet.duration or 0))
    if not shown or not keys:
        raise Refused("no_times")
    return _table(shown, sorted(keys), file.container.format.name.startswith("mov"))


def _packets(file: Open) -> Iterator[Any]:
    try:
        yield from file.container.demux(file.stream)
    except av.error.FFmpegError:
        return


def _table(
    shown: list[tuple[int, int]], keys: list[tuple[int, int]], shifted: bool
) -> dict[str, Any]:
    """Presentation order; of frames with one time one is kept, none before the first keyframe."""
    durations = dict(sorted(shown))
    pts = [p for p in durations if p >= keys[0][0]]
    if not pts:
        raise Refused("no_times")
    steps = [b - a for a, b in itertools.pairwise(pts)]
    last = durations[pts[-1]] or (sorted(steps)[len(steps) // 2] if steps else 1)
    rows = {bisect.bisect_left(pts, key): at for at, (key, _) in enumerate(keys)}
    rows.pop(len(pts), None)
    return {
        "pts": pts,
        "keys": list(rows),
        "key_pts": [keys[i][0] for i in rows.values()],
        "seeks": [_seek_target(keys, i, shifted) for i in rows.values()],
        "end": pts[-1] + last,
        "counted": False,
    }


def _seek_target(keys: list[tuple[int, int]], at: int, shifted: bool) -> int:
    """Where to seek for a keyframe.

    Demuxers index decode times. That of mov and mp4 takes what is sought for a presentation time
    and shifts it back by the largest delay of the file: the keyframe's own is surely late enough,
    and must only not be late enough for the next one.
    """
    if not shifted:
        return keys[at][1]
    return keys[at][0] if at + 1 == len(keys) else min(keys[at][0], keys[at + 1][1] - 1)


def count_frames(file: Open) -> dict[str, Any]:
    """The table of a file whose packets carry no times: every frame is decoded once.

    Frames that have no time even then follow the one before by the average frame interval.

    Raises:
        Refused: `no_times`.
    """
    rest(file)
    file.container.seek(0, backward=True)
    stream = file.stream
    rate = stream.average_rate or stream.guessed_rate or 25
    step = max(1, round(1 / (rate * stream.time_base)))
    pts: list[int] = []
    for frame in frames_of(file, file.container.demux(stream), ()):
        said = frame.pts if frame.pts is not None else frame.dts
        after = pts[-1] + step if pts else 0
        pts.append(said if said is not None and (not pts or said > pts[-1]) else after)
    if not pts:
        raise Refused("no_times")
    return {
        "pts": pts,
        "keys": [0],
        "key_pts": pts[:1],
        "seeks": [0],
        "end": pts[-1] + step,
        "counted": True,
    }


def rest(file: Open) -> None:
    """Forget where the decoder was."""
    if file.run is not None:
        file.run.close()  # type: ignore[attr-defined]
    file.run, file.at, file.gave, file.skipped = None, None, False, set()
    file.stream.codec_context.flush_buffers()


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
        for packet in _packets(file):
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


def cues(path: str) -> list[tuple[float, float, str]]:
    """Text of the first subtitle stream that holds text: start, end, words, in seconds.

    Raises:
        Refused: See `open_video`.
    """
    file = open_video(path, 1)
    out: list[tuple[float, float, str]] = []
    try:
        for stream in file.container.streams.subtitles:
            _read(stream, True)
            for packet in _demux_one(file.container, stream):
                if packet.pts is not None and packet.size:
                    start = float(packet.pts * stream.time_base)
                    end = start + float((packet.duration or 0) * stream.time_base)
                    out += [(start, end, text) for text in _words(packet)]
            if out:
                return out
        return out
    finally:
        file.container.close()


def _demux_one(container: Any, stream: Any) -> Iterator[Any]:
    container.seek(0)
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return


def _words(packet: Any) -> Iterator[str]:
    try:
        decoded = packet.decode()
    except av.error.FFmpegError:
        return
    for item in decoded:
        for rect in getattr(item, "rects", None) or [item]:
            said = getattr(rect, "dialogue", None) or getattr(rect, "text", None)
            if said:
                yield said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
