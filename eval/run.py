"""Evaluation: plays tasks through the one loop, scores them, and counts.

With an output folder every finished episode is on disk before the next counts, and a second run
plays only what is missing. Nothing here knows a wire syntax, a learner or a reward.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vtool.benchmark import metrics
from vtool.config import to_plain
from vtool.engines.base import ChatEngine, TokenEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.errors import DataError, MediaError, VToolError
from vtool.message import Json
from vtool.programs.solo import play
from vtool.record import Episode, Sampling, StopReason
from vtool.render import Renderer
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter

from .ahead import Ahead
from .attempt import Attempt, lost
from .card import card
from .controls import controls
from .folder import check_ids, check_settings, finished, read_settings, task_id
from .hold import held
from .judging import Judging, Scorer, Verdicts
from .key import contract, sample_key, text_hash
from .report import Report, summarise
from .results import write_results

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

    def __post_init__(self) -> None:
        """Refuse what nobody could draw with."""
        heat = self.sampling.temperature
        if not 0 <= heat < math.inf:
            raise DataError(f"expected a temperature of 0 or more, and finite, got {heat}")


async def evaluate(
    tasks: Sequence[Task],
    *,
    renderer: Renderer,
    engine: TokenEngine | ChatEngine,
    toolbox: Toolbox,
    settings: Settings | None = None,
    out: Path | str | None = None,
    concurrency: int = 64,
    judging: Judging | None = None,
    predict_only: bool = False,
    decoders: int = 2,
    ahead: int = 16,
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
        judging: Whom to ask where the metric says no.
        predict_only: Keep the answers and score nothing; `rescore` does it later.
        decoders: Threads that open pictures and videos.
        ahead: How many questions may be open before an episode wants them.

    Raises:
        DataError: Ids come twice, or `out` holds an evaluation with other settings, tools or
            questions, or one that is under way.
        UnknownName: No such metric or control.
    """
    settings = settings or Settings()
    started = time.monotonic()
    ids = check_ids(tasks)
    offered = _controlled(settings, toolbox, renderer)
    folder = Path(out) if out is not None else None
    scorer = Scorer(metrics.get(settings.metric), _kept(judging, folder), predict_only)
    played = played_under(settings, offered, renderer)
    run = _Run(settings, renderer, engine, offered, scorer, contract(played))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        done: dict[tuple[str, int], Attempt] = {}
        if folder is not None:
            check_settings(folder / "settings.json", played)
            done = await finished(folder, tasks, settings.k, scorer, run.contract)
        todo = _missing(ids, settings.k, done)
        fresh = await _play_all(run, tasks, todo, folder, (concurrency, decoders, ahead))
        attempts = _in_order([*done.values(), *fresh], ids)
        report = summarise(
            attempts,
            name=settings.name,
            control=settings.control,
            settings=_plain(settings),
            seconds=time.monotonic() - started,
            card=card(played, attempts, renderer, judging),
        )
        if folder is not None:
            write_results(folder, report, attempts)
    return report


def _missing(
    ids: Sequence[str], k: int, done: Mapping[tuple[str, int], Attempt]
) -> list[tuple[int, int]]:
    """Places and numbers of the attempts that are still to be played."""
    return [(t, a) for t in range(len(ids)) for a in range(k) if (ids[t], a) not in done]


async def rescore(
    tasks: Sequence[Task],
    out: Path | str,
    *,
    metric: str,
    judging: Judging | None = None,
) -> Report:
    """Score again what a folder holds, and play nothing.

    Args:
        tasks: The questions; those that the folder has no attempt at are told as missing.
        out: Folder of an evaluation.
        metric: Registered metric, the same as before or another.
        judging: Whom to ask where the metric says no.

    Raises:
        DataError: The folder holds no evaluation, or one of other questions.
        UnknownName: No such metric.
    """
    folder, started = Path(out), time.monotonic()
    ids = check_ids(tasks)
    played = read_settings(folder / "settings.json")
    scorer = Scorer(metrics.get(metric), _kept(judging, folder))
    with held(folder):
        done = await finished(folder, tasks, None, scorer, contract(played), broken_too=True)
        attempts = _in_order(list(done.values()), ids)
        report = summarise(
            attempts,
            name=str(played.get("name", "")),
            control=played.get("control"),
            settings={**played, "metric": metric},
            seconds=time.monotonic() - started,
            card=card({**played, "metric": metric}, attempts, None, judging),
            missing=len({*ids} - {a.task_id for a in attempts}),
        )
        write_results(folder, report, attempts)
    return report


@dataclass(frozen=True, slots=True)
class _Run:
    """What all attempts of an evaluation share."""

    settings: Settings
    renderer: Renderer
    engine: TokenEngine | ChatEngine
    toolbox: Toolbox
    scorer: Scorer
    contract: str

    async def attempt(self, task: Task, index: int, number: int) -> Episode:
        """Play one attempt; its draws depend on seed, task and attempt only."""
        s = self.settings
        env = ToolEnvironment(task, self.toolbox, s.limits, seed=s.seed * 100_003 + number)
        seat = Seat("policy", self.renderer, self.engine, s.sampling)
        try:
            return await play(env, {"policy": seat}, key=(s.seed, index, number))
        finally:
            await env.close()


Bounds = tuple[int, int, int]
"""Episodes at once, threads that decode, questions open ahead."""


async def _play_all(
    run: _Run,
    tasks: Sequence[Task],
    todo: Sequence[tuple[int, int]],
    folder: Path | None,
    bounds: Bounds,
) -> list[Attempt]:
    """Play what is missing. Verdicts of a judge are waited for last: they hold up no episode."""
    concurrency, decoders, depth = bounds
    writer = TraceWriter(folder / "trace") if folder is not None else None
    scored: dict[tuple[int, int], asyncio.Task[Attempt] | Attempt] = {}

    def job(place: int, index: int, number: int) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            try:
                task = await source.take(place)
            except (DataError, MediaError) as err:
                scored[index, number] = _unopened(task_id(tasks, index), number, err)
                return
            key = sample_key(task, number, run.contract)
            episode = await run.attempt(task, index, number)
            if writer is not None:
                # Packing pictures takes long enough to hold up everybody else's turn.
                meta = _meta(task, number, key)
                await asyncio.to_thread(writer.write, episode, None, meta)
            work = run.scorer(episode, task, number, key)
            scored[index, number] = (
                await work if run.scorer.judging is None else asyncio.create_task(work)
            )

        return one

    with Ahead(tasks, [t for t, _ in todo], workers=decoders, depth=depth) as source:
        try:
            jobs = [job(place, t, a) for place, (t, a) in enumerate(todo)]
            await run_all(jobs, engine=run.engine, concurrency=concurrency)
            return [s if isinstance(s, Attempt) else await s for s in scored.values()]
        finally:
            if writer is not None:
                writer.close()


def _unopened(name: str, number: int, err: Exception) -> Attempt:
    """A question whose files cannot be read: ours, so neither right nor wrong, and told."""
    return lost(name, number, StopReason.FAILED, f"{type(err).__name__}: {err}")


def _kept(judging: Judging | None, folder: Path | None) -> Judging | None:
    if judging is None or folder is None:
        return judging
    return replace(judging, verdicts=Verdicts(folder / "verdicts.jsonl"))


def _in_order(attempts: Sequence[Attempt], ids: Sequence[str]) -> list[Attempt]:
    place = {name: at for at, name in enumerate(ids)}
    return sorted(attempts, key=lambda a: (place[a.task_id], a.attempt))


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


def played_under(settings: Settings, toolbox: Toolbox, renderer: Renderer) -> dict[str, Json]:
    """Everything on which an answer depends beside the question, for the folder and the key."""
    specs = toolbox.specs
    tools: Json = [f"{spec.name} {spec.version}" for spec in specs]
    told = [
        f"{s.name}: {s.description} {[(p.name, p.description) for p in s.params]}" for s in specs
    ]
    wording = text_hash([renderer.name, *told])
    return {**_plain(settings), "tools": tools, "renderer": renderer.name, "wording": wording}


def _meta(task: Task, number: int, key: str) -> Mapping[str, Json]:
    reference = to_plain(task.reference)
    return {"attempt": number, "tags": dict(task.tags), "reference": reference, "key": key}


def _plain(settings: Settings) -> dict[str, Json]:
    plain = to_plain(settings)
    assert isinstance(plain, dict)
    return plain
