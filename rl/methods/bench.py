"""Play many trials in a few processes of one thread; what is done stays done."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from vtool.errors import DataError, VToolError
from vtool.own_code import import_own, named

from ..lock import RunLock
from .play import Row, laid_out, play_trial
from .questions import questions_of
from .setups import setup_of
from .trial import START, Trial, files_digest, recipe_of

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
        DataError: The results cannot be read, two trials would share a name in them, or what they
            hold was asked otherwise.
        CheckpointError: Another runner is at work in the folder.
    """
    check_names(wanted)
    out.mkdir(parents=True, exist_ok=True)
    with RunLock(out):
        mend(out / RESULTS)
        mine = {row["key"]: row for row in read_results(out / RESULTS)}
        done = {**{row["key"]: row for row in known}, **mine}
        left = [t for t in dict.fromkeys(wanted) if not is_done(t, done.get(t.key), out)]
        prepare(left, out)
        finished = [t for t in wanted if t not in left]
        check_setups(finished, mine, out)
        check_questions(finished, mine, out)
        for number, row in enumerate(played(left, out, processes), 1):
            done[row["key"]] = row
            with (out / RESULTS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
            if tell is not None:
                tell(number, len(left), row)
    return [done[t.key] for t in dict.fromkeys(wanted)]


def check_names(wanted: Sequence[Trial]) -> None:
    """Refuse two files that the results could not tell apart.

    Raises:
        DataError: They are called alike.
    """
    whose: dict[str, Trial] = {}
    for trial in wanted:
        first = whose.setdefault(trial.key, trial)
        if first != trial:
            one, two = next(
                (getattr(first, k), getattr(trial, k))
                for k in ("ground", "method")
                if getattr(first, k) != getattr(trial, k)
            )
            raise DataError(f"{one} and {two} would bear one name in the results: rename one")


def is_done(trial: Trial, row: dict[str, Any] | None, out: Path) -> bool:
    """Whether the results hold this trial: of these files, and with numbers.

    Raises:
        DataError: They hold another one under its name.
    """
    if row is None or row["error"] is not None:
        return False
    digest = files_digest(trial)
    if row.get("files", digest) != digest:
        raise DataError(
            f"{out / RESULTS} holds {trial.key} as it came of other recipe files than those of "
            "today: give the changed recipe another file name, or choose another --out"
        )
    return True


def check_questions(
    finished: Sequence[Trial], mine: Mapping[str, Mapping[str, Any]], out: Path
) -> None:
    """Refuse numbers of questions that are not those of today.

    Rows that do not say what was asked, as older ones do not, are believed.

    Args:
        finished: Trials that are not played again.
        mine: Rows of the folder, by key.
        out: The folder.

    Raises:
        DataError: A world or a task file changed since.
    """
    asked: dict[str, str] = {}
    for trial in finished:
        then = mine.get(trial.key, {}).get("questions")
        if then and trial.ground not in asked:
            start = recipe_of(Trial(trial.ground, START, 0, 0))
            asked[trial.ground] = questions_of(laid_out(start, out))
        if then and asked[trial.ground] != then:
            raise DataError(
                f"{out / RESULTS} holds {trial.key} as it was played on other questions than those "
                f"of ground {trial.ground} today: choose another --out, or remove {out}"
            )


def check_setups(
    finished: Sequence[Trial], mine: Mapping[str, Mapping[str, Any]], out: Path
) -> None:
    """Refuse numbers of a ground, a method or a start that are not those of today.

    As of questions, rows that do not say are believed.

    Args:
        finished: Trials that are not played again.
        mine: Rows of the folder, by key.
        out: The folder.

    Raises:
        DataError: A recipe or the start's weights changed since.
    """
    today: dict[tuple[str, str], str] = {}
    for trial in finished:
        then, names = mine.get(trial.key, {}).get("setup"), (trial.ground, trial.method)
        if then and names not in today:
            today[names] = setup_of(recipe_of(trial))
        if then and today[names] != then:
            raise DataError(
                f"{out / RESULTS} holds {trial.key} as it was played under another recipe, or from "
                f"other weights, than ground {trial.ground} and method {trial.method} mean today: "
                f"choose another --out, or remove {out}"
            )


def mend(path: Path) -> None:
    """Take half a line off the end, as a machine that went down leaves it.

    What is written next would otherwise go on in that line, and neither could be read again.
    """
    body = path.read_bytes() if path.is_file() else b""
    tail = body.rpartition(b"\n")[2]
    if not tail:
        return
    try:
        json.loads(tail)
    except ValueError:
        os.truncate(path, len(body) - len(tail))
    else:  # whole, but for the end of the line
        with path.open("ab") as file:
            file.write(b"\n")


def prepare(left: Sequence[Trial], out: Path) -> None:
    """Refuse names that nothing has, and write worlds, before two processes would."""
    # All names first: writing a world takes a while, and a slip is told at once.
    for recipe in [recipe_of(trial) for trial in left]:
        laid_out(recipe, out)


def played(left: Sequence[Trial], out: Path, processes: int) -> Iterator[dict[str, Any]]:
    """Rows in the order in which they come.

    Where a trial breaks down, those that are under way are waited for, since their rows are worth
    minutes; then its error is raised. Who is interrupted waits for nobody.
    """
    if not left:
        return
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    context, others = get_context("spawn"), set(active_children())
    ready: dict[str, Any] = {"initializer": begin, "initargs": (named(),)}
    with ProcessPoolExecutor(processes, mp_context=context, **ready) as pool:
        waiting = {pool.submit(play_trial, trial, out): trial for trial in left}
        broken: BaseException | None = None
        try:
            for future in as_completed(waiting):
                error = None if future.cancelled() else future.exception()
                if error is not None:
                    broken = broken or fault_of(error, waiting[future])
                    cancel(waiting)
                elif not future.cancelled():
                    yield plain(future.result())
        except BaseException:
            cancel(waiting)
            for process in set(active_children()) - others:
                process.terminate()
            raise
    if broken is not None:
        raise broken


def begin(own: Sequence[str]) -> None:
    """Make a process ready: it knows the user's code that this one was told to import.

    It ends at ctrl-C: as an exception inside a step that would be minutes in coming.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import_own(own)


def cancel(waiting: Iterable[Future[Row]]) -> None:
    """Begin none of those that have not begun."""
    for future in waiting:
        future.cancel()


def fault_of(error: BaseException, trial: Trial) -> BaseException:
    """What broke a trial, and which one."""
    if isinstance(error, BrokenProcessPool):
        return VToolError(
            "the process of a trial was killed, perhaps for memory; what was done before is kept: "
            "run the same again, with fewer --processes"
        )
    error.add_note(f"in trial {trial.key}")
    return error


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
    lines = path.read_bytes().split(b"\n")
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
