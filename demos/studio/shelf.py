"""What lies in the folder of runs: traces, curves and reports, by name and by nothing else."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vtool.errors import DataError, TraceError, UnknownName

MOST = 300
"""Things of a kind that are listed."""
DEEP = 6
"""Folders that are gone down."""
UNPACKED = 256 * 2**20
"""Bytes that a packed trace may have."""
FILES = 4000
"""Files that it may hold."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of runs.

    Args:
        root: Nothing outside it is ever read.
    """

    root: Path

    def traces(self) -> list[str]:
        """Folders that hold episodes, the newest first."""
        return self._holding("episodes.jsonl")

    def runs(self) -> list[str]:
        """Folders that hold the metrics of a training run, the newest first."""
        return self._holding("metrics.jsonl")

    def reports(self) -> dict[str, Mapping[str, Any]]:
        """Reports of evaluations by the name of their folder; what cannot be read is left out."""
        found = {}
        for name in self._holding("report.json"):
            try:
                body = json.loads((self.folder(name) / "report.json").read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                continue
            if isinstance(body, dict) and isinstance(body.get("total"), dict):
                found[name] = body
        return found

    def folder(self, name: str) -> Path:
        """The folder of that name.

        Raises:
            UnknownName: It does not lie here.
        """
        if not isinstance(name, str) or "\0" in name:
            raise UnknownName("folder", repr(name)[:80], self.traces()[:8])
        root = self.root.resolve()
        path = (root / name).resolve()
        if not name or not path.is_relative_to(root) or not path.is_dir():
            raise UnknownName("folder", name[:80], self.traces()[:8])
        return path

    def _holding(self, file: str) -> list[str]:
        if not self.root.is_dir():
            return []
        root = self.root.resolve()
        found = []
        for path in _walk(root, file, DEEP):
            found.append(path)
            if len(found) >= 4 * MOST:
                break
        found.sort(key=lambda p: (p / file).stat().st_mtime, reverse=True)
        return [p.relative_to(root).as_posix() for p in found[:MOST]]


def _walk(folder: Path, file: str, deep: int) -> Iterator[Path]:
    """Folders below that hold a file; links are not followed."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    if (folder / file).is_file():
        yield folder
    for path in inside:
        if deep and path.is_dir() and not path.is_symlink() and path.name != "media":
            yield from _walk(path, file, deep - 1)


def unpack(packed: Path, folder: Path) -> Path:
    """Unpack a trace that somebody brought, into a folder of its own.

    Args:
        packed: A .zip as the studio keeps them.
        folder: Where it goes.

    Raises:
        TraceError: No such archive, too large, or with names that lead elsewhere.
    """
    try:
        with zipfile.ZipFile(packed) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) > FILES or sum(m.file_size for m in members) > UNPACKED:
                raise TraceError(f"a packed trace holds at most {FILES} files and 256 MiB")
            for member in members:
                _write(archive, member, folder)
    except TraceError:
        raise
    # RuntimeError: it is encrypted; the others: what is in it is damaged.
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError, zlib.error) as err:
        raise TraceError(f"expected a trace packed as .zip, cannot read this file: {err}") from err
    if not (folder / "episodes.jsonl").is_file():
        raise TraceError("expected episodes.jsonl at the top of the archive")
    return folder


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """One file, read to the size that it says and no further."""
    path = PurePosixPath(member.filename)
    inside = path.parts and path.parts[0] == "media" and len(path.parts) == 2
    if ".." in path.parts or path.is_absolute() or "\\" in member.filename:
        raise TraceError(f"a name of the archive leads elsewhere: {member.filename[:80]!r}")
    if not inside and member.filename != "episodes.jsonl":
        return
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) > member.file_size:
        raise TraceError("a file of the archive is larger than it says")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def numbers(body: Mapping[str, Any], *names: str) -> list[float]:
    """Numbers of a report's cell.

    Raises:
        DataError: One is missing or no number.
    """
    out = []
    for name in names:
        value = body.get(name)
        # Comparisons, since a long integer is no float: it must not take the whole board away.
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        if not fine or not -1e30 < value < 1e30:
            raise DataError(f"expected a number for {name}, got {value!r}")
        out.append(float(value))
    return out
