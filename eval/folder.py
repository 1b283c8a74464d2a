"""The folder of an evaluation: its settings, and what it holds already.

The trace is the only record of what was played. What is read from it is checked against the
question as it is now, so that an answer never counts for a question that was not asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtool.errors import DataError
from vtool.message import Json, Part, Role, Show
from vtool.record import Episode
from vtool.store import Store
from vtool.task import Task
from vtool.trace import read_trace

from .ahead import open_task
from .attempt import Attempt, broken
from .judging import Scorer
from .key import aside_of, sample_key
from .results import write_whole


async def finished(
    folder: Path,
    tasks: Sequence[Task],
    k: int | None,
    scorer: Scorer,
    contract: str,
    *,
    broken_too: bool = False,
) -> dict[tuple[str, int], Attempt]:
    """Attempts that a folder holds already, by task and number, scored anew.

    Args:
        folder: Of the evaluation.
        tasks: What may be asked.
        k: Attempts with this number and above are left alone; None takes all.
        scorer: Says what they are worth.
        contract: Hash of the settings.
        broken_too: Whether attempts that broke, and were not played again, are told as such.

    Raises:
        DataError: One was made from another question of that id.
    """
    lines = folder / "trace" / "episodes.jsonl"
    if not lines.is_file():
        return {}
    mend(lines)
    where = {name: i for i, name in enumerate(check_ids(tasks))}
    found: dict[tuple[str, int], asyncio.Task[Attempt] | Attempt] = {}

    def wanted(name: str, meta: Mapping[str, Json]) -> bool:
        number = meta.get("attempt")
        return isinstance(number, int) and (k is None or number < k) and name in where

    for record in read_trace(folder / "trace", only=wanted):
        number = int(str(record.meta["attempt"]))
        task = await asyncio.to_thread(open_task, tasks, where[record.task_id])
        key = sample_key(task, number, contract)
        if record.meta.get("key", key) != key:
            raise other_question(folder, task.id)
        check_question(record.episode, task, folder)
        at = (record.task_id, number)
        if not broken(record.episode.stop) or (broken_too and at not in found):
            work = scorer(record.episode, task, number, key)
            found[at] = await work if scorer.judging is None else asyncio.create_task(work)
    return {at: a if isinstance(a, Attempt) else await a for at, a in found.items()}


def check_question(episode: Episode, task: Task, folder: Path) -> None:
    """An attempt counts for a task only if it was asked that very question.

    Raises:
        DataError: The folder holds an attempt at another question of that id.
    """
    if not episode.contexts:
        return
    asked = [m for m in episode.contexts[0].messages() if m.role is Role.USER][:1]
    store = episode.contexts[0].store
    then = [_identity(p, store) for m in asked for p in m.parts]
    now = [p if isinstance(p, str) else p.digest for p in task.prompt]
    if then != now:
        raise other_question(folder, task.id)


def other_question(folder: Path, name: str) -> DataError:
    """What is said when a folder's attempt does not belong to the task of its id."""
    return DataError(
        f"{folder} holds an attempt at another question of the id {name!r}: it was made "
        "from another task file; choose another folder"
    )


def _identity(part: Part, store: Store) -> str:
    """Words as they are, pictures, clips and videos by their digest."""
    handle = part.handle if isinstance(part, Show) else part.text.split(" ", 1)[0].removeprefix("$")
    is_media = isinstance(part, Show) or (handle in store and store[handle].kind == "video")
    return store[handle].digest if is_media else part.text


def mend(lines: Path) -> None:
    """Cut off a last line that a killed writer left unfinished."""
    data = lines.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with lines.open("r+b") as file:
            file.truncate(len(whole))


def check_settings(path: Path, mine: Mapping[str, Json]) -> None:
    """A folder is gone on with only under the settings under which its answers were made.

    Raises:
        DataError: It holds others.
    """
    if path.is_file():
        theirs = read_settings(path)
        aside = aside_of(mine)
        differs = [k for k in mine if k not in aside and theirs.get(k) != mine[k]]
        if differs:
            told = ", ".join(f"{k}: {theirs.get(k)!r} there, {mine[k]!r} now" for k in differs)
            raise DataError(
                f"{path.parent} holds an evaluation with other settings ({told}); choose another "
                "folder"
            )
    write_whole(path, json.dumps(dict(mine), indent=2) + "\n")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a folder.

    Raises:
        DataError: There are none, or they cannot be read.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise DataError(f"{path.parent} holds no evaluation: it has no {path.name}") from err
    except ValueError as err:
        raise DataError(f"{path} is damaged ({err}); choose another folder") from err
    if not isinstance(read, dict):
        raise DataError(f"{path} is damaged (no object); choose another folder")
    return read


def check_ids(tasks: Sequence[Task]) -> list[str]:
    """Ids of all tasks; a file of tasks says them without decoding pictures.

    Raises:
        DataError: One comes twice, or is empty.
    """
    names = [task_id(tasks, index) for index in range(len(tasks))]
    seen: set[str] = set()
    for place, name in enumerate(names):
        if not name.strip():
            raise DataError(f"task {place + 1} has no id; expected unique ids")
        if name in seen:
            raise DataError(f"task id {name!r} comes twice; expected unique ids")
        seen.add(name)
    return names


def task_id(tasks: Sequence[Task], index: int) -> str:
    """Id of a task."""
    ids = getattr(tasks, "ids", None)
    return str(ids[index]) if ids is not None else tasks[index].id
