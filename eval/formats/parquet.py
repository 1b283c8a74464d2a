"""Parquet as the hub writes it: light columns at once, pictures row group by row group."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtool.errors import DataError, require

from .records import Record

KEPT = 2
"""Row groups of heavy columns that stay in memory."""


class _File:
    """One file; not decoded but for the light columns."""

    def __init__(self, path: Path, wide: Sequence[str]) -> None:
        pq: Any = require("pyarrow.parquet", "eval")
        self.path = path
        try:
            self.file = pq.ParquetFile(path)
        except Exception as err:  # pyarrow's own hierarchy; the file is the user's
            raise DataError(f"cannot read {path.name}: expected a parquet file ({err})") from err
        names = self.file.schema_arrow.names
        self.heavy = [n for n in names if n in wide or _is_heavy(self.file.schema_arrow.field(n))]
        self.light = [n for n in names if n not in self.heavy]
        self._groups: OrderedDict[tuple[int, str], list[object]] = OrderedDict()
        self._one = threading.Lock()

    def records(self) -> list[Record]:
        rows = self.file.read(columns=self.light).to_pylist()
        out, at = [], 0
        for group in range(self.file.num_row_groups):
            for inner in range(self.file.metadata.row_group(group).num_rows):
                light = {**rows[at], "_folder": self.path.parent.name, "_file": self.path.stem}
                out.append(self._record(at, group, inner, light))
                at += 1
        return out

    def _record(self, at: int, group: int, inner: int, light: dict[str, object]) -> Record:
        where = f"{self.path.name}, row {at}"
        return Record(where, light, self.heavy, lambda name: self._cell(group, inner, name))

    def _cell(self, group: int, inner: int, name: str) -> object:
        # Several threads decode; they share what is kept, and a group is read once.
        with self._one:
            return self._group(group, name)[inner]

    def _group(self, group: int, name: str) -> list[object]:
        key = (group, name)
        if key not in self._groups:
            column = self.file.read_row_group(group, columns=[name])
            self._groups[key] = column.column(name).to_pylist()
            while len(self._groups) > KEPT * max(1, len(self.heavy)):
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _is_heavy(field: Any) -> bool:
    """Whether a column holds bytes, alone or inside a struct or list."""
    text = str(field.type)
    return "binary" in text


def read_parquet(paths: Sequence[Path], *, wide: Sequence[str] = ()) -> list[Record]:
    """Rows of some files, in the order of the files.

    Args:
        paths: The files.
        wide: Text columns that are heavy too, such as base64 pictures.

    Raises:
        DataError: A file cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    return [record for path in paths for record in _File(path, wide).records()]
