"""What a file says before its frames are asked for: head, table of times, subtitles.

Only the worker imports this.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from typing import Any

import av
from av.video.frame import VideoFrame

from vtool.video.libav import (
    Open,
    Refused,
    display_size,
    frame_sar,
    frames_of,
    listen,
    open_video,
    packets_of,
    quarter_turns,
    rest,
)


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
    for packet in packets_of(file):
        if packet.is_keyframe and not start:
            start.append(packet.pts)
        if start:
            yield packet


def _duration(file: Open) -> float:
    stream = file.stream
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return float((file.container.duration or 0) / av.time_base)


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
    for packet in packets_of(file):
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


def cues(path: str) -> list[tuple[float, float, str]]:
    """Text of the first subtitle stream that holds text: start, end, words, in seconds.

    Raises:
        Refused: See `open_video`.
    """
    file = open_video(path, 1)
    out: list[tuple[float, float, str]] = []
    try:
        for stream in file.container.streams.subtitles:
            listen(stream, True)
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
