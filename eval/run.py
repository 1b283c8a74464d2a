"""Evaluation: plays tasks through the one loop, scores them, and counts.

With an output folder every finished episode is on disk before the next counts, and a second run
plays only what is missing. Nothing here knows a wire syntax, a learner or a reward.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtool.benchmark import Metric, metrics
from vtool.config import to_plain
from vtool.engines.base import ChatEngine, TokenEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.errors import DataError, VToolError
from vtool.message import Json, Part, Role, Show
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.render import Renderer
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.store import Store
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter, read_trace

from .attempt import Attempt, judge
from .controls import controls
from .report import Report, summarise, to_markdown

GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an evaluation is played; two runs of one folder must agree on all of it."""

    name: str = "evaluation"
    k: int = 1
    """Attempts at each task."""
    sampling: Sampling = GREEDY
    limits: Limits = field(default_factory=Limits)
    metric: str = "exact_match"
    control: str | None = None
    seed: int = 0
    policy: str = ""
    """What was evaluated, for the reader: a path or a name."""
    weights: str = ""
    """Digest of its weights: a folder is not gone on with under others."""


async def evaluate(
    tasks: Sequence[Task],
    *,
    renderer: Renderer,
    engine: TokenEngine | ChatEngine,
    toolbox: Toolbox,
    settings: Settings | None = None,
    out: Path | str | None = None,
    concurrency: int = 64,
) -> Report:
    """Play every task `k` times and report.

    Args:
        tasks: Questions; ids must be unique.
        renderer: How the model writes.
        engine: Where completions come from.
        toolbox: The tools on offer.
        settings: How to play.
        out: Folder for trace and report; None keeps nothing. Attempts that it holds already are
            not played again, and those that broke are.
        concurrency: Episodes at once.

    Raises:
        DataError: Ids come twice, or `out` holds an evaluation with other settings, tools or
            questions.
        UnknownName: No such metric or control.
    """
    settings = settings or Settings()
    started = time.monotonic()
    _check_ids(tasks)
    offered = _controlled(settings, toolbox, renderer)
    run = _Run(settings, renderer, engine, offered, metrics.get(settings.metric))
    folder = Path(out) if out is not None else None
    done = _begin(folder, run, tasks) if folder is not None else {}
    todo = [
        (t, a)
        for a in range(settings.k)
        for t in range(len(tasks))
        if (_id(tasks, t), a) not in done
    ]
    fresh = await _play_all(run, tasks, todo, folder, concurrency)
    attempts = [*done.values(), *fresh]
    report = summarise(
        attempts,
        name=settings.name,
        control=settings.control,
        settings=_plain(settings),
        seconds=time.monotonic() - started,
    )
    if folder is not None:
        _write_report(folder, report)
    return report


@dataclass(frozen=True, slots=True)
class _Run:
    """What all attempts of an evaluation share."""

    settings: Settings
    renderer: Renderer
    engine: TokenEngine | ChatEngine
    toolbox: Toolbox
    metric: Metric

    async def attempt(self, task: Task, index: int, number: int) -> Episode:
        """Play one attempt; its draws depend on seed, task and attempt only."""
        s = self.settings
        env = ToolEnvironment(task, self.toolbox, s.limits, seed=s.seed * 100_003 + number)
        seat = Seat("policy", self.renderer, self.engine, s.sampling)
        try:
            return await play(env, {"policy": seat}, key=(s.seed, index, number))
        finally:
            await env.close()


async def _play_all(
    run: _Run,
    tasks: Sequence[Task],
    todo: Sequence[tuple[int, int]],
    folder: Path | None,
    concurrency: int,
) -> list[Attempt]:
    writer = TraceWriter(folder / "trace") if folder is not None else None

    def job(index: int, number: int) -> Callable[[], Awaitable[Attempt]]:
        async def one() -> Attempt:
            task = tasks[index]
            episode = await run.attempt(task, index, number)
            if writer is not None:
                writer.write(episode, None, _meta(task, number))
            return judge(episode, task, number, run.metric)

        return one

    try:
        jobs = [job(i, n) for i, n in todo]
        return await run_all(jobs, engine=run.engine, concurrency=concurrency)
    finally:
        if writer is not None:
            writer.close()


def _controlled(settings: Settings, toolbox: Toolbox, renderer: Renderer) -> Toolbox:
    if settings.control is None:
        return toolbox
    family: Any = getattr(renderer, "family", None)
    if family is None:
        raise VToolError(
            f"control {settings.control!r} needs a renderer with a family, to know the sizes at "
            f"which pictures are shown; {renderer.name} has none"
        )
    return controls.get(settings.control)(toolbox, family.shown_size)


def _begin(folder: Path, run: _Run, tasks: Sequence[Task]) -> dict[tuple[str, int], Attempt]:
    """Attempts that the folder holds already, by task and number."""
    settings = run.settings
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(folder / "settings.json", {**_plain(settings), "tools": _tools(run.toolbox)})
    lines = folder / "trace" / "episodes.jsonl"
    if not lines.is_file():
        return {}
    mend(lines)
    where = {_id(tasks, i): i for i in range(len(tasks))}
    done: dict[tuple[str, int], Attempt] = {}
    for record in read_trace(folder / "trace"):
        number = record.meta.get("attempt")
        if isinstance(number, int) and number < settings.k and record.task_id in where:
            task = tasks[where[record.task_id]]
            check_question(record.episode, task, folder)
            attempt = judge(record.episode, task, number, run.metric)
            if attempt.counts:
                done[(record.task_id, number)] = attempt
    return done


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
        raise DataError(
            f"{folder} holds an attempt at another question of the id {task.id!r}: it was made "
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


def _tools(toolbox: Toolbox) -> Json:
    return [f"{spec.name} {spec.version}" for spec in toolbox.specs]


def _check_settings(path: Path, mine: Mapping[str, Json]) -> None:
    if path.is_file():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as err:
            raise DataError(f"{path} is damaged ({err}); choose another folder") from err
        differs = [k for k in mine if theirs.get(k) != mine[k]]
        if differs:
            told = ", ".join(f"{k}: {theirs.get(k)!r} there, {mine[k]!r} now" for k in differs)
            raise DataError(
                f"{path.parent} holds an evaluation with other settings ({told}); choose another "
                "folder"
            )
    path.write_text(json.dumps(dict(mine), indent=2) + "\n", encoding="utf-8")


def _write_report(folder: Path, report: Report) -> None:
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=2) + "\n")
    (folder / "report.md").write_text(to_markdown([report]), encoding="utf-8")


def _check_ids(tasks: Sequence[Task]) -> None:
    seen: set[str] = set()
    for index in range(len(tasks)):
        name = _id(tasks, index)
        if name in seen:
            raise DataError(f"task id {name!r} comes twice; expected unique ids")
        seen.add(name)


def _id(tasks: Sequence[Task], index: int) -> str:
    """Id of a task; a file of tasks says it without decoding pictures."""
    ids = getattr(tasks, "ids", None)
    return str(ids[index]) if ids is not None else tasks[index].id


def _meta(task: Task, number: int) -> Mapping[str, Json]:
    reference = to_plain(task.reference)
    return {"attempt": number, "tags": dict(task.tags), "reference": reference}


def _plain(settings: Settings) -> dict[str, Json]:
    plain = to_plain(settings)
    assert isinstance(plain, dict)
    return plain
