"""How well a checkpoint plays held-out videos: through the real files, tools and engine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from vtool.data import load_tasks
from vtool.engines.hf import HFEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.families.vlm import VLM
from vtool.pairs import load_renderer
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.worlds.moments import Ask
from vtool.worlds.moments_files import make

from ..rewards import temporal

LIMITS = Limits(max_turns=4, max_tokens=2048, seconds=600.0)


def measure(
    folder: Path, *, count: int = 100, seed: int = 900_000, temperature: float = 0.0
) -> dict[str, dict[str, float]]:
    """Accuracy, overlap and tool use by kind of question, on videos of the held-out split.

    Args:
        folder: Checkpoint.
        count: Videos; each is asked about in every way.
        seed: Of the videos.
        temperature: 0 is greedy.
    """
    found = {}
    with tempfile.TemporaryDirectory() as held_out:
        path = make(Path(held_out) / "held_out", seed=seed, videos=count, split="held_out")
        tasks = list(load_tasks(path))
        for off in (False, True):
            rows = play_all(folder, tasks, temperature, off=off)
            for ask in Ask:
                mine = [(t, e) for t, e in rows if t.tags["kind"] == ask.value]
                found[f"{ask.value}, tool off" if off else ask.value] = summary(mine)
    return found


def play_all(
    folder: Path, tasks: list[Task], temperature: float, *, off: bool = False
) -> list[tuple[Task, Episode]]:
    """One attempt at every task."""
    renderer = load_renderer(folder)
    engine = HFEngine(VLM.load(folder), synchronous=True)
    sampling = Sampling(temperature=temperature, max_tokens=120)
    seats = {"policy": Seat("policy", renderer, engine, sampling)}
    toolbox = Toolbox(["resample"])
    offered = toolbox.only(()) if off else toolbox

    def job(index: int) -> Callable[[], Awaitable[Episode]]:
        async def go() -> Episode:
            env = ToolEnvironment(tasks[index], offered, LIMITS)
            try:
                return await play(env, seats, key=(0, index))
            finally:
                await env.close()

        return go

    jobs = [job(i) for i in range(len(tasks))]
    episodes = asyncio.run(run_all(jobs, engine=engine, concurrency=0))
    return list(zip(tasks, episodes, strict=True))


def summary(rows: list[tuple[Task, Episode]]) -> dict[str, float]:
    """Means over some episodes."""
    words = [temporal.grounded_answer(e, t) for t, e in rows]
    spans = [temporal.span_iou(e, t) for t, e in rows]
    seen = [temporal.evidence_span(e, t) for t, e in rows]
    calls = [float(sum(len(a.calls) for a in e.actions())) for _, e in rows]
    found = {
        "accuracy": mean(words),
        "tiou": mean(spans),
        "answered": mean([float(e.answer is not None) for _, e in rows]),
        "calls": mean(calls),
        "seen": mean(seen),
    }
    return {k: v for k, v in found.items() if v is not None}


def mean(values: list[float | None]) -> float | None:
    """Mean of those that apply, four digits; None of nothing."""
    numbers = [v for v in values if v is not None]
    return round(sum(numbers) / len(numbers), 4) if numbers else None
