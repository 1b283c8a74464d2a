"""What an evaluation leaves beside its trace: reports for people and rows for programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtool.errors import DataError
from vtool.message import Json
from vtool.record import StopReason

from .attempt import Attempt
from .page import render_page
from .report import Cell, Report, to_markdown

SAMPLES = "samples.jsonl"
MAIN, CHOSEN = "main", "chosen"
"""Folders of a command's plain run: beside controls, and in an ablation."""


def write_results(folder: Path, report: Report, attempts: Sequence[Attempt]) -> None:
    """Write `report.{json,md,csv,html}` and `samples.jsonl`; each is whole or not there."""
    write_whole(folder / "report.json", json.dumps(report.to_json(), indent=2) + "\n")
    write_whole(folder / "report.md", to_markdown([report]))
    write_whole(folder / "report.csv", to_csv([report]))
    write_whole(folder / "report.html", render_page([report], attempts))
    rows = "".join(json.dumps(sample_row(a)) + "\n" for a in attempts)
    write_whole(folder / SAMPLES, rows)


def write_whole(path: Path, text: str) -> None:
    """Replace a file at one stroke, so that nobody ever reads half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    # Half characters, which JSON may hold, are spelt out rather than refused at the very end.
    beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    beside.replace(path)


def to_csv(reports: Sequence[Report]) -> str:
    """One line a report and tag value."""
    out = io.StringIO()
    names = list(Cell.__dataclass_fields__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["what", "control", "tag", "value", *names])
    for report in reports:
        rows: list[tuple[str, str, Cell]] = [("", "", report.total)]
        rows += [(t, v, c) for t, cells in report.by_tag.items() for v, c in cells.items()]
        for tag, value, cell in rows:
            numbers = [_number(cell, n) for n in names]
            words = [report.name, report.control or "", tag, value]
            writer.writerow([*map(harmless, words), *("" if n is None else n for n in numbers)])
    return out.getvalue()


def _number(cell: Cell, name: str) -> object:
    """A column of a cell; of nothing there are counts, and no shares."""
    return getattr(cell, name) if cell.n or name in ("n", "attempts", "clusters") else None


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def sample_row(attempt: Attempt) -> dict[str, Json]:
    """One attempt as plain values."""
    row: dict[str, Any] = asdict(attempt)
    return {**row, "stop": str(attempt.stop), "media": list(attempt.media)}


def plain_run(folder: Path) -> Path:
    """The plain run of a folder: the folder itself, `main` in it, or the `chosen` of an ablation.

    Raises:
        DataError: It holds none; the message names the runs that it does hold.
    """
    for place in (folder, folder / MAIN, folder / CHOSEN):
        if (place / SAMPLES).is_file():
            return place
    held = sorted(p.parent.name for p in folder.glob(f"*/{SAMPLES}"))
    if held:
        raise DataError(
            f"expected one run, but {folder} holds several and none is the plain one "
            f"({', '.join(held)}): name one, such as {folder / held[0]}"
        )
    begun = [folder, *sorted(p for p in folder.glob("*") if p.is_dir())]
    if any((p / "trace").is_dir() for p in begun):
        raise DataError(
            f"the evaluation in {folder} is not finished (no {SAMPLES} yet): say the same "
            "`vtool eval` again, it goes on"
        )
    raise DataError(
        f"expected the folder of an evaluation (`vtool eval TASKS --out {folder}` makes one), but "
        f"{folder} " + ("holds none" if folder.is_dir() else "is not there")
    )


def read_samples(folder: Path | str) -> list[Attempt]:
    """The attempts of a finished evaluation.

    Raises:
        DataError: The folder holds none, or they cannot be read.
    """
    path = Path(folder) / SAMPLES
    if not path.is_file():
        raise DataError(f"{folder} holds no finished evaluation: it has no {SAMPLES}")
    try:
        return [_attempt(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, TypeError, KeyError) as err:
        raise DataError(f"{path} is damaged ({err}); score the folder again") from err


def _attempt(row: Mapping[str, Any]) -> Attempt:
    return Attempt(**{**row, "stop": StopReason(row["stop"]), "media": tuple(row["media"])})
