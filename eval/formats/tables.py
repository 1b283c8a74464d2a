"""TSV with pictures as base64, CSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtool.errors import DataError

from .records import Record

MAX_CELL = 200_000_000
"""Characters of one cell: pictures stand in them."""

_limit = threading.Lock()
"""The limit on a cell is the whole process's; pictures are read in several threads."""


def read_tsv(path: Path, *, wide: Sequence[str] = ("image",)) -> list[Record]:
    """Rows of a tab-separated file as VLMEvalKit writes it; wide cells are read again on demand.

    Raises:
        DataError: The file cannot be read, or a row has another number of cells than the head.
    """
    rows = _spans(path)
    _, _, names = next(rows, (0, 0, None))
    if names is None:
        raise DataError(f"{path.name} is empty: expected a row of column names")
    heavy = [n for n in names if n in wide]
    out = []
    for number, (start, end, cells) in enumerate(rows, 2):
        where = f"{path.name}, row {number}"
        if len(cells) != len(names):
            raise DataError(f"{where}: expected {len(names)} cells, got {len(cells)}")
        light = {n: c for n, c in zip(names, cells, strict=True) if n not in heavy}
        out.append(Record(where, light, heavy, _Cells(path, start, end, tuple(names))))
    return out


class _Cells:
    """Reads a stretch of a file again."""

    __slots__ = ("end", "names", "path", "start")

    def __init__(self, path: Path, start: int, end: int, names: tuple[str, ...]) -> None:
        self.path, self.start, self.end, self.names = path, start, end, names

    def __call__(self, name: str) -> object:
        with self.path.open("rb") as file:
            file.seek(self.start)
            text = file.read(self.end - self.start).decode("utf-8")
        return dict(zip(self.names, _cells(text, "\t"), strict=True))[name]


def _spans(path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """(first byte, last byte, cells) of each row; a row goes on while a quote is open."""
    try:
        with path.open("rb") as file:
            start, held = 0, b""
            for line in file:
                held += line
                if held.count(b'"') % 2 == 0:
                    end = start + len(held)
                    if held.strip():
                        yield start, end, _cells(held.decode("utf-8-sig"), "\t")
                    start, held = end, b""
            if held:
                raise DataError(f"{path.name}: the last row ends inside a quoted cell")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read {path.name}: {err}; expected UTF-8 text") from err


def _cells(text: str, delimiter: str) -> list[str]:
    with _limit:
        old = csv.field_size_limit(MAX_CELL)
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        finally:
            csv.field_size_limit(old)


def read_csv(path: Path) -> list[Record]:
    """Rows of a comma-separated file with a head.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                Record(f"{path.name}, row {i}", dict(row))
                for i, row in enumerate(csv.DictReader(file), 2)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"cannot read {path.name}: {err}; expected a UTF-8 CSV file") from err


def read_json(path: Path, *, fallback: str | None = None) -> object:
    """The value of a JSON file.

    Args:
        path: The file.
        fallback: Encoding of those that are not UTF-8, where there are such.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return json.loads(_text(path, fallback))
    except (OSError, ValueError, RecursionError) as err:
        raise DataError(f"cannot read {path.name}: {err}; expected a UTF-8 JSON file") from err


def _text(path: Path, fallback: str | None) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if fallback is None:
            raise
        return data.decode(fallback)


def read_rows(path: Path) -> list[Record]:
    """Rows of a JSON list or of JSON lines, by the name of the file.

    Raises:
        DataError: It cannot be read, or a row is no object.
    """
    if path.suffix == ".jsonl":
        rows: object = [
            _line(path, i, line) for i, line in enumerate(_lines(path), 1) if line.strip()
        ]
    else:
        rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise DataError(f"{path.name}: expected a list of JSON objects")
    return [Record(f"{path.name}, row {i}", row) for i, row in enumerate(rows)]


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines: JSON strings may hold the other ends of lines that Unicode knows.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read {path.name}: {err}; expected UTF-8 JSON lines") from err


def _line(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as err:
        raise DataError(f"{path.name}, line {number}: expected one JSON object ({err})") from err
