"""Play many trials in a few processes of one thread; what is done stays done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from vtool.errors import DataError

from .play import Row, laid_out, play_trial
from .trial import Trial, recipe_of

RESULTS = "results.jsonl"
Told = Callable[[int, int, dict[str, Any]], None]


def run(
    wanted: Sequence[Trial],
    out: Path,
    *,
    known: Iterable[dict[str, Any]] = (),
    processes: int = 2,
    tell: Told | None = None,
) -> list[dict[str, Any]]:
    """Play what is not in the results yet.

    Args:
        wanted: Trials.
        out: Folder; `results.jsonl` in it gets a line a trial, when it is done.
        known: Rows that were played elsewhere, such as published ones; they are believed, and
            those in the folder before them.
        processes: Trials at once, one thread each.
        tell: Told how many are done, of how many, and the row.

    Returns:
        The rows of the wanted trials, those of earlier runs and known ones among them.

    Raises:
        RecipeError: A method or a ground that is not there.
        DataError: The results cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    done = {row["key"]: row for row in (*known, *read_results(out / RESULTS))}
    left = [t for t in wanted if t.key not in done or done[t.key]["error"] is not None]
    prepare(left, out)
    for number, row in enumerate(played(left, out, processes), 1):
        done[row["key"]] = row
        with (out / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if tell is not None:
            tell(number, len(left), row)
    return [done[t.key] for t in wanted]


def prepare(left: Sequence[Trial], out: Path) -> None:
    """Refuse names that nothing has, and write worlds, before two processes would."""
    for trial in left:
        laid_out(recipe_of(trial), out)


def played(left: Sequence[Trial], out: Path, processes: int) -> Iterator[dict[str, Any]]:
    """Rows in the order in which they come."""
    if not left:
        return
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(play_trial, trial, out) for trial in left]
        try:
            for future in as_completed(waiting):
                yield plain(future.result())
        finally:
            for future in waiting:
                future.cancel()


def plain(row: Row) -> dict[str, Any]:
    """A row as it is written."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(row)))
    return found


def read_results(path: Path) -> list[dict[str, Any]]:
    """Rows of a results file, the last of each trial; half a line at its end is left out.

    Raises:
        DataError: A line that is no row stands before the last one.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
            if row is not None:
                rows[row["key"]] = row
        except (ValueError, TypeError, KeyError) as err:
            if number < len(lines):
                raise DataError(f"{path}:{number}: expected a row of trials, got {err}") from err
    return list(rows.values())


def total(rows: Iterable[dict[str, Any]], key: str) -> float:
    """Sum of a number over rows."""
    return float(sum(row[key] for row in rows))
