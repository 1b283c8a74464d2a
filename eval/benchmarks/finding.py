"""Finding a benchmark's files below a root: globs in order, the first that matches counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..formats.parquet import read_parquet
from ..formats.records import Record
from ..formats.tables import read_csv, read_rows, read_tsv

Rows = Callable[[Path], Sequence[Record]]


def files(root: Path, *patterns: str) -> list[Path]:
    """Files of the first pattern that matches any, sorted; those of caches are left out."""
    for pattern in patterns:
        found = sorted(
            p
            for p in root.glob(pattern)
            if p.is_file() and ".cache" not in p.relative_to(root).parts
        )
        if found:
            return found
    return []


def parquet(*patterns: str, wide: Sequence[str] = ()) -> Rows:
    """Rows of parquet files."""
    return lambda root: read_parquet(files(root, *patterns), wide=wide)


def split_of(name: str) -> tuple[str, ...]:
    """Where the hub's files of a split lie: in `data`, the root, or the folder of a config."""
    return (
        f"data/{name}-*.parquet",
        f"{name}-*.parquet",
        f"*/{name}-*.parquet",
        f"**/{name}*.parquet",
    )


def tsv(*patterns: str) -> Rows:
    """Rows of VLMEvalKit's tab-separated files."""
    return lambda root: [r for p in files(root, *patterns) for r in read_tsv(p)]


def table(*patterns: str) -> Rows:
    """Rows of JSON lists, JSON lines, or CSV."""

    def rows(root: Path) -> list[Record]:
        return [
            r
            for p in files(root, *patterns)
            for r in (read_csv(p) if p.suffix == ".csv" else read_rows(p))
        ]

    return rows
