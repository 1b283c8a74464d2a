"""libav behind one small surface: files that are opened by strict rules, and frames out of them.

Only the worker imports this. A container or a codec that is not on the list is refused before any
frame of it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av
from av.video.frame import VideoFrame

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
        listen(other, other.index == stream.index)
    stream.thread_type = "AUTO"
    context.thread_count = threads
    return Open(container, stream)


def only_files() -> dict[str, str]:
    """Options under which no file makes libav open another one, or an address."""
    return {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}


def listen(stream: Any, wanted: bool) -> None:
    """Whether a demuxer reads the packets of a stream; older libraries read all."""
    discard = getattr(av.stream, "Discard", None)
    if discard is not None:
        stream.discard = discard.default if wanted else discard.all


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


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


def packets_of(file: Open) -> Iterator[Any]:
    """Packets from where the file is, up to its end or to where it cannot be read."""
    try:
        yield from file.container.demux(file.stream)
    except av.error.FFmpegError:
        return


def rest(file: Open) -> None:
    """Forget where the decoder was."""
    if file.run is not None:
        file.run.close()  # type: ignore[attr-defined]
    file.run, file.at, file.gave, file.skipped = None, None, False, set()
    file.stream.codec_context.flush_buffers()
