"""Rows of users' task files, as written: read, checked and resolved, no picture decoded.

See `vtool.data` for the form of a row. Every error names file, line, what was expected and what
came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from vtool.data_reference import ReferenceLine, Wanted, read_wanted
from vtool.data_video import MAX_GLANCE, VideoFile, read_span
from vtool.errors import DataError, MediaError
from vtool.geometry import Span
from vtool.message import Json
from vtool.picture_file import inside

PLACEHOLDER = "<image>"
VIDEO = "<video>"
MAX_LINE = 10_000_000
MAX_PICTURES = 128
_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Place(_Strict):
    image: int = 0
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]


class _Moment(_Strict):
    video: int = 0
    span: _Pair


def _tag_of(place: object) -> str:
    return "<video>" if isinstance(place, dict) and "span" in place else "<image>"


_Evidence = Annotated[
    Annotated[_Place, Tag("<image>")] | Annotated[_Moment, Tag("<video>")], Discriminator(_tag_of)
]


class _Said(BaseModel):
    """One message: ours, or ShareGPT's."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: str | None = None
    content: str | list[dict[str, Any]] | None = None


class _Line(ReferenceLine, BaseModel):
    """One row as written. Keys that are not ours are kept out silently: users' files have them."""

    model_config = ConfigDict(extra="ignore", strict=True)
    id: str | int | None = None
    images: list[str] | None = None
    image: str | None = None
    videos: list[str] = []
    glance: Annotated[int, Field(ge=0, le=MAX_GLANCE)] = 0
    messages: list[_Said] | None = None
    conversations: list[dict[str, Any]] | None = None
    question: str | None = None
    """The plain form: words alone, where there is nothing else to say."""
    answer: str | list[str] | None = None
    spans: list[_Pair] = []
    evidence: list[_Evidence] = []
    tags: dict[str, Any] = {}
    tools: list[str] | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that does not fit."""

    line: int
    error: DataError
    """Names the file, the line, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was read, its pictures not yet decoded."""

    id: str
    line: int
    parts: tuple[str | Path | VideoFile, ...]
    """The question in order: words, paths of pictures, and videos."""
    answers: tuple[str, ...]
    evidence: tuple[tuple[int, tuple[float, float, float, float]], ...] = ()
    """Index of a picture, and pixels of it."""
    system: str | None = None
    tools: tuple[str, ...] | None = None
    tags: Mapping[str, Json] | None = None
    spans: tuple[Span, ...] = ()
    """Stretches of the first video that a right answer names."""
    moments: tuple[tuple[int, Span], ...] = ()
    """Evidence in videos: index of a video, and a stretch of it."""
    wanted: Wanted = field(default_factory=Wanted)
    """What else than words and spans is wanted, and the calls that lead there."""

    @property
    def videos(self) -> tuple[VideoFile, ...]:
        """Videos, in order."""
        return tuple(p for p in self.parts if isinstance(p, VideoFile))

    @property
    def pictures(self) -> tuple[Path, ...]:
        """Paths of the pictures, in order."""
        return tuple(p for p in self.parts if isinstance(p, Path))

    @property
    def words(self) -> str:
        """The question's words."""
        return "".join(p for p in self.parts if isinstance(p, str))


def read_rows(path: str | Path, *, root: str | Path | None = None) -> Iterator[Row | BadRow]:
    """Read a file row by row; a row that does not fit comes as a `BadRow`.

    Raises:
        DataError: The file itself cannot be read.
    """
    folder = Path(root) if root is not None else Path(path).parent
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _row(f"{path}, line {number}", number, line, folder.resolve())
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read {path}: {err}; expected a UTF-8 JSON lines file") from err


def _row(where: str, number: int, text: str, folder: Path) -> Row | BadRow:
    try:
        line = _Line.model_validate(_decode(where, text))
        said = _turns(where, line)
        system = "".join(_words(where, c) for r, c in said if r == "system") or None
        names = line.images or ([line.image] if line.image else [])
        check_count(where, len(names))
        paths = tuple(_inside(where, folder, name) for name in names)
        question = [c for r, c in said if r == "user"]
        if len(question) != 1:
            raise DataError(
                f"{where}: expected one user message (one question a row), got {len(question)}"
            )
        if not line.videos and isinstance(question[0], list):
            _check_no_video(where, question[0])
        wanted = read_wanted(where, line, len(paths))
        return Row(
            id=str(line.id) if line.id is not None else f"row-{number}",
            line=number,
            parts=_parts(where, _words(where, question[0]), paths, _videos(where, line, folder)),
            answers=_answers(where, line, said, wanted),
            wanted=wanted,
            spans=tuple(read_span(where, pair) for pair in line.spans),
            evidence=tuple(_places(where, line, len(paths))),
            moments=tuple(_moments(where, line)),
            system=system,
            tools=tuple(line.tools) if line.tools is not None else None,
            tags=line.tags,
        )
    except ValidationError as err:
        return BadRow(number, DataError(f"{where}: {_explain(err)}"))
    except DataError as err:
        return BadRow(number, err)


def _decode(where: str, text: str) -> object:
    if len(text) > MAX_LINE:
        raise DataError(f"{where}: expected at most {MAX_LINE} characters, got {len(text)}")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise DataError(f"{where}: expected one JSON object, got {text[:60]!r} ({err})") from err
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a JSON object, got a {type(value).__name__}")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _turns(where: str, line: _Line) -> list[tuple[str, str | list[dict[str, Any]]]]:
    """(role, content) of each message, whichever form the row has."""
    if line.question is not None and line.messages is None and line.conversations is None:
        return [("user", line.question)]
    if (line.messages is None) == (line.conversations is None):
        raise DataError(
            f"{where}: expected `question` (words), `messages` (role, content) or "
            "`conversations` (from, value), "
            f"got {'both' if line.messages else 'neither'}"
        )
    raw = (
        [(m.role, m.content) for m in line.messages]
        if line.messages is not None
        else [(m.get("from"), m.get("value")) for m in line.conversations or []]
    )
    turns: list[tuple[str, str | list[dict[str, Any]]]] = []
    for role, content in raw:
        known = role if role == "system" else _ROLES.get(str(role))
        if known is None or not isinstance(content, str | list):
            raise DataError(
                f"{where}: expected messages by system, user (human) or assistant (gpt) with "
                f"text, got role {role!r} with {type(content).__name__}"
            )
        turns.append((known, content))
    return turns


def _words(where: str, content: str | list[dict[str, Any]]) -> str:
    """Text of a message; typed content parts become placeholders."""
    if isinstance(content, str):
        return content
    words = ""
    for part in content:
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            words += part["text"]
        elif kind in ("image", "video"):
            words += PLACEHOLDER if kind == "image" else VIDEO
        else:
            raise DataError(
                f"{where}: expected content parts of type 'text', 'image' or 'video', got {kind!r}"
            )
    return words


def _check_no_video(where: str, content: Sequence[Mapping[str, Any]]) -> None:
    if any(part.get("type") == "video" for part in content):
        raise DataError(f"{where}: a content part is of type 'video', but `videos` names none")


def _parts(
    where: str, words: str, paths: Sequence[Path], videos: Sequence[VideoFile]
) -> tuple[str | Path | VideoFile, ...]:
    """Put pictures and videos where their marks stand; those without any mark come first."""
    front: list[str | Path | VideoFile] = []
    waiting: dict[str, list[Path | VideoFile]] = {PLACEHOLDER: list(paths), VIDEO: list(videos)}
    for mark, files in waiting.items():
        count = words.count(mark)
        if count == 0 and (files or mark == PLACEHOLDER):
            front += files
            files.clear()
        elif count != len(files) and (files or mark == PLACEHOLDER):
            noun = "pictures" if mark == PLACEHOLDER else "videos"
            raise DataError(
                f"{where}: expected as many {mark} as {noun}, got {count} for {len(files)}"
            )
    if not any(waiting.values()):
        return (*front, words)
    marks = "|".join(re.escape(m) for m, files in waiting.items() if files)
    parts = front
    for piece in re.split(f"({marks})", words):
        parts.append(waiting[piece].pop(0) if waiting.get(piece) else piece)
    return tuple(p for p in parts if p)


def _videos(where: str, line: _Line, folder: Path) -> list[VideoFile]:
    return [VideoFile(_inside(where, folder, name), line.glance) for name in line.videos]


def _answers(
    where: str,
    line: _Line,
    said: Sequence[tuple[str, str | list[dict[str, Any]]]],
    wanted: Wanted,
) -> tuple[str, ...]:
    given = line.answer
    if given is None and said and said[-1][0] == "assistant":
        given = _words(where, said[-1][1])
    answers = (given,) if isinstance(given, str) else tuple(given or ())
    if not answers and ((line.spans and line.videos) or not wanted.needs_words):
        return ()
    if not answers or not all(a.strip() for a in answers):
        raise DataError(
            f"{where}: expected `answer` (a text or a list of texts) or a last assistant "
            f"message, got {given!r}"
        )
    return answers


def _places(
    where: str, line: _Line, pictures: int
) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    for place in line.evidence:
        if isinstance(place, _Moment):
            continue
        if not 0 <= place.image < pictures:
            raise DataError(
                f"{where}: expected evidence on picture 0 to {pictures - 1}, got {place.image}"
            )
        x1, y1, x2, y2 = place.bbox
        yield place.image, (x1, y1, x2, y2)


def _moments(where: str, line: _Line) -> Iterator[tuple[int, Span]]:
    if line.spans and not line.videos:
        raise DataError(f"{where}: expected `videos` beside `spans`, got none")
    for place in line.evidence:
        if isinstance(place, _Place):
            continue
        if not 0 <= place.video < len(line.videos):
            raise DataError(
                f"{where}: expected evidence in video 0 to {len(line.videos) - 1}, "
                f"got {place.video}"
            )
        yield place.video, read_span(where, place.span)


def _inside(where: str, folder: Path, name: str) -> Path:
    try:
        return inside(folder, name)
    except MediaError as err:
        raise DataError(f"{where}: {err}") from err


def check_count(where: str, pictures: int) -> None:
    """Refuse a question with more pictures than any episode holds.

    Raises:
        DataError: `too_many_images`.
    """
    if pictures > MAX_PICTURES:
        raise DataError(
            f"{where}: too_many_images: expected at most {MAX_PICTURES} pictures a row, "
            f"got {pictures}"
        )


def _explain(err: ValidationError) -> str:
    first = err.errors(include_url=False)[0]
    marks = (PLACEHOLDER, VIDEO)
    field = ".".join(str(p) for p in first["loc"] if p not in marks) or "row"
    got = repr(first.get("input"))
    got = got if len(got) <= 80 else got[:77] + "..."
    return f"field {field!r}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {got}"
