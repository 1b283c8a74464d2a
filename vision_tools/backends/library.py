"""Reading a user's folder: passages of text, and pictures with what is written about them.

Only regular files below the folder are read, symbolic links followed; what leads out of it is
left out, like what cannot be decoded. Hidden files are not looked at.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vtool.errors import MediaError
from vtool.picture_file import inside, read_bytes

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TEXTS = (".txt", ".md", ".json")
MAX_TEXT = 5_000_000
"""Bytes of a text file that is read."""
MAX_FILES = 200_000
PASSAGE = 800
"""Characters to which paragraphs are gathered."""
_NAMES = ("image", "file_name", "file", "path", "name")
_SAYINGS = ("caption", "text", "title", "description", "captions")


@dataclass(frozen=True, slots=True)
class Document:
    """One thing that can be found.

    Args:
        name: The file, as a path below the folder.
        text: What it says, or what is said of it.
        picture: Whether the file is a picture.
    """

    name: str
    text: str
    picture: bool = False


@dataclass(slots=True)
class Reading:
    """What a folder held.

    Args:
        documents: In order of their names.
        left_out: Files that could not be read, or that lead out of the folder.
    """

    documents: list[Document] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_folder(root: Path) -> Reading:
    """All documents of a folder, in order of their names."""
    reading, texts = Reading(), dict[str, str]()
    names = list(_names(root))
    pictures = [n for n in names if n.lower().endswith(PICTURES)]
    for name in names:
        if name.lower().endswith(TEXTS):
            try:
                texts[name] = _text(root, name)
            except MediaError:
                reading.left_out.append(name)
    said = _captions(root, texts, pictures)
    for name in pictures:
        try:
            inside(root, name)
        except MediaError:
            reading.left_out.append(name)
            continue
        reading.documents.append(Document(name, "\n".join(said.get(name, [])), True))
    sidecars = {n for n in texts if _stem(n) in {_stem(p) for p in pictures}}
    for name, text in texts.items():
        if name not in sidecars and not name.lower().endswith(".json"):
            reading.documents += [Document(name, passage) for passage in passages(text)]
    reading.documents.sort(key=lambda d: d.name)
    return reading


def passages(text: str, most: int = PASSAGE) -> Iterator[str]:
    """Paragraphs, gathered up to a length; longer ones are cut between words."""
    held = ""
    for piece in _pieces(text, most):
        if held and len(held) + len(piece) + 1 > most:
            yield held
            held = ""
        held = f"{held} {piece}".strip()
    if held:
        yield held


def _pieces(text: str, most: int) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from textwrap.wrap(" ".join(paragraph.split()), most)


def _names(root: Path) -> Iterator[str]:
    """Files below the folder, hidden ones left out, in order."""
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and file.lower().endswith((*PICTURES, *TEXTS)):
                count += 1
                if count > MAX_FILES:
                    return
                yield (Path(folder) / file).relative_to(root).as_posix()


def _text(root: Path, name: str) -> str:
    data = read_bytes(name, root)
    if len(data) > MAX_TEXT:
        raise MediaError(f"text file of {len(data)} bytes, at most {MAX_TEXT}")
    return data.decode("utf-8", errors="replace")


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _captions(root: Path, texts: Mapping[str, str], pictures: list[str]) -> dict[str, list[str]]:
    """What is written of each picture: beside it, or in a list of captions."""
    by_stem: dict[str, list[str]] = {}
    for name in pictures:
        by_stem.setdefault(_stem(name), []).append(name)
    known, said = set(pictures), dict[str, list[str]]()
    for name, text in texts.items():
        body = _decode(text) if name.lower().endswith(".json") else text
        for picture in by_stem.get(_stem(name), []):
            said.setdefault(picture, []).extend(_saying(body))
        if not isinstance(body, str) and _stem(name) not in by_stem:
            for other, words in _listed(body):
                place = _beside(root, name, other)
                if place in known:
                    said.setdefault(place, []).append(words)
    return said


def _beside(root: Path, listing: str, name: str) -> str | None:
    """A picture named by a list of captions, below the list's own folder; None if it leads out."""
    whole = str(PurePosixPath(listing).parent / name)
    try:
        inside(root, whole)
    except MediaError:
        return None
    return whole


def _decode(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _saying(body: object) -> list[str]:
    """What a sidecar says: text, or the fields of captions."""
    if isinstance(body, str):
        return [body.strip()] if body.strip() else []
    if isinstance(body, list):
        return [s for part in body if isinstance(part, str) for s in _saying(part)]
    if isinstance(body, dict):
        return [s for key in _SAYINGS if key in body for s in _saying(body[key])]
    return []


def _listed(body: object) -> Iterator[tuple[str, str]]:
    """(picture, caption) of a list: a mapping, a list of rows, or COCO captions."""
    if isinstance(body, dict) and isinstance(body.get("annotations"), list):
        files = {i.get("id"): i.get("file_name") for i in _rows(body.get("images"))}
        for row in _rows(body["annotations"]):
            name = files.get(row.get("image_id"))
            if isinstance(name, str):
                yield from ((name, s) for s in _saying(row))
    elif isinstance(body, dict):
        for key, value in body.items():
            yield from ((str(key), s) for s in _saying(value))
    for row in _rows(body):
        named = next((row[k] for k in _NAMES if isinstance(row.get(k), str)), None)
        if isinstance(named, str):
            yield from ((named, s) for s in _saying(row))


def _rows(body: object) -> list[dict[str, object]]:
    return [r for r in body if isinstance(r, dict)] if isinstance(body, list) else []
