"""Words with times: subtitle files beside a video, or text streams inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vtool.video.pool import shared_pool
from vtool.video.reader import Shot
from vtool.video.source import Video

MAX_BYTES = 8 << 20
_ENDINGS = (".srt", ".vtt")
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})"
_ARROW = re.compile(rf"^\s*{_TIME}\s+-->\s+{_TIME}")
_MARKUP = re.compile(r"<[^>]{0,64}>|\{\\[^}]{0,64}\}")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said from one time to another, in seconds from the first frame."""

    start_s: float
    end_s: float
    text: str


def cues(video: Video) -> tuple[Cue, ...]:
    """What is said in a video: from a file beside it, else from a text stream inside it.

    A file beside it has the video's name and ends in `.srt` or `.vtt`, possibly with a language
    between (`talk.en.srt`); the first in alphabetical order is read.

    Raises:
        VideoError: The video cannot be read, or not in time.
    """
    for path in beside(video.path):
        found = tuple(read_cues(path.read_text(encoding="utf-8-sig", errors="replace")))
        if found:
            return found
    return tuple(_inside(video)) if video.head.subtitles else ()


def beside(path: Path) -> list[Path]:
    """Subtitle files of a video; links, folders and very large files do not count."""
    names = [p for p in path.parent.iterdir() if p.suffix.lower() in _ENDINGS]
    ours = [p for p in names if p.stem == path.stem or p.stem.rpartition(".")[0] == path.stem]
    whole = [p for p in ours if p.is_file() and not p.is_symlink()]
    return sorted(p for p in whole if p.stat().st_size <= MAX_BYTES)


def read_cues(text: str) -> Iterator[Cue]:
    """Cues of an SRT or WebVTT file, in the order of the file; what is neither is left out."""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        at = next((i for i, line in enumerate(lines) if _ARROW.match(line)), None)
        if at is None:
            continue
        found = _ARROW.match(lines[at])
        assert found is not None
        said = plain(" ".join(lines[at + 1 :]))
        start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
        if said and end > start:
            yield Cue(start, end, said)


def plain(text: str) -> str:
    """Words without markup, on one line."""
    text = _MARKUP.sub("", text).replace("\\N", " ").replace("&amp;", "&")
    return " ".join(text.replace("&lt;", "<").replace("&gt;", ">").split())


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, thousandths = (int(p or 0) for p in parts)
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _inside(video: Video) -> Iterator[Cue]:
    video.check_unchanged()
    request = Shot(str(video.path), (0, 0), 0, video.seconds).request("cues")
    num, den = video.head.time_base
    zero = video.head.first_pts * num / den
    for start, end, text in shared_pool().ask(request, video.seconds)[0][0]["cues"]:
        # Events of the ASS format carry eight fields before the words.
        words = plain(text.split(",", 8)[-1] if text.count(",") >= 8 else text)
        if words and end > start:
            yield Cue(max(0.0, start - zero), end - zero, words)
