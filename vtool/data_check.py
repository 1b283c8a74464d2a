"""Checks a task file without a model: would every row train and score as its author means?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vtool.data_reference import read_box, wanted_reference
from vtool.data_rows import BadRow, Row, read_rows
from vtool.data_video import check_inside
from vtool.errors import DataError, MediaError
from vtool.media import Image
from vtool.picture_file import decode_picture, read_bytes
from vtool.video.errors import VideoError
from vtool.video.source import Video

CONTROL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
"""Spellings that templates of the Qwen-VL families use. In a question they are ordinary text to
vtool, but other readers of the same file may not be as careful."""


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a file."""

    level: Level
    code: str
    line: int
    id: str
    message: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a check found."""

    path: str
    rows: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong (warnings aside)."""
        return not any(f.level is Level.ERROR for f in self.findings)


def check_data(path: str | Path, *, root: str | Path | None = None) -> DataReport:
    """Read every row and every picture of a task file.

    Args:
        path: The file.
        root: Folder of its pictures; its own by default.

    Raises:
        DataError: The file itself cannot be read.
    """
    findings: list[Finding] = []
    lines: dict[str, int] = {}
    count = 0
    for row in read_rows(path, root=root):
        count += 1
        if isinstance(row, BadRow):
            said = str(row.error).removeprefix(f"{path}, line {row.line}: ")
            findings.append(Finding(Level.ERROR, "bad_row", row.line, "", said))
            continue
        findings += _duplicate(row, lines)
        findings += _pictures(row)
        findings += _videos(row)
        findings += _controls(row)
    if count == 0:
        findings.append(Finding(Level.ERROR, "empty", 0, "", "the file holds no row"))
    return DataReport(str(path), count, tuple(findings))


def _duplicate(row: Row, lines: dict[str, int]) -> Iterator[Finding]:
    if not row.id.strip():
        said = "the id is blank; expected one id per row, or none to be named by its line"
        yield Finding(Level.ERROR, "missing_id", row.line, row.id, said)
    elif row.id in lines:
        said = f"id was used on line {lines[row.id]}; expected one id per row"
        yield Finding(Level.ERROR, "duplicate_id", row.line, row.id, said)
    else:
        lines[row.id] = row.line


def _pictures(row: Row) -> Iterator[Finding]:
    pictures: list[Image | None] = []
    for picture in row.pictures:
        try:
            decoded = decode_picture(read_bytes(picture))
            pictures.append(Image.adopt(decoded.pixels))
            for note in decoded.notes:
                yield Finding(Level.WARNING, "first_frame", row.line, row.id, note)
        except MediaError as err:
            pictures.append(None)
            yield Finding(Level.ERROR, "bad_image", row.line, row.id, str(err))
    for at, bbox in row.evidence:
        shown = pictures[at]
        if shown is None:
            continue
        try:
            read_box("", bbox, shown)
        except DataError as err:
            yield Finding(Level.ERROR, "bad_box", row.line, row.id, str(err).removeprefix(": "))
    seen = [picture for picture in pictures if picture is not None]
    if len(seen) == len(pictures):
        try:
            wanted_reference("", row.wanted, row.answers, seen)
        except DataError as err:
            said = str(err).removeprefix(": ")
            yield Finding(Level.ERROR, "bad_reference", row.line, row.id, said)


def _videos(row: Row) -> Iterator[Finding]:
    videos: list[Video | None] = []
    for file in row.videos:
        try:
            videos.append(Video.open(file.path))
        except VideoError as err:
            videos.append(None)
            yield Finding(Level.ERROR, "bad_video", row.line, row.id, f"{file.path.name}: {err}")
    for at, span in (*((0, s) for s in row.spans), *row.moments):
        video = videos[at]
        try:
            if video is not None:
                check_inside("", span, video)
        except (DataError, VideoError) as err:
            said = str(err).removeprefix(": ")
            yield Finding(Level.ERROR, "bad_span", row.line, row.id, said)


def _controls(row: Row) -> Iterator[Finding]:
    found = [token for token in CONTROL_TOKENS if token in row.words]
    if found:
        said = f"the question spells control tokens: {', '.join(found)}"
        yield Finding(Level.WARNING, "control_tokens", row.line, row.id, said)
