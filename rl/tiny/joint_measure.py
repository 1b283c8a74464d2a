"""How well a checkpoint plays several worlds with one set of tools, and which tools it takes."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

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
from vtool.temporal_score import span_score, words_score
from vtool.toolbox import Toolbox
from vtool.worlds.without import Without, take_away
from vtool.worlds.world import worlds

from ..tool_names import offered
from .joint_expert import joint_toolbox
from .moments_measure import mean

LIMITS: Final = Limits(max_turns=5, max_tokens=2048, seconds=600.0)
NAMES: Final = ("zoom", "box", "depth", "mask", "detect", "page", "sparse", "moments")


def measure(
    folder: Path,
    *,
    count: int = 100,
    seed: int = 900_000,
    temperature: float = 0.0,
    names: Sequence[str] = NAMES,
    controls: Sequence[Without] = (),
) -> dict[str, dict[str, Any]]:
    """Accuracy, calls and chosen tools by world, on held-out questions.

    Args:
        folder: Checkpoint.
        count: Questions a world.
        seed: Of the pictures.
        temperature: 0 is greedy.
        names: Worlds.
        controls: What is taken away in further rows.
    """
    found = {}
    for name in names:
        world = worlds.get(name)
        with tempfile.TemporaryDirectory() as made:
            path = world.make(Path(made) / "w", seed=seed, split="held_out", **world.sized(count))
            tasks = list(load_tasks(path, keep=4 * count))
            # Pictures are in memory by now; videos are read whenever they are looked into.
            found[name] = summary(name, play_all(folder, tasks, joint_toolbox(), temperature))
            for control in controls:
                box = take_away(joint_toolbox(), control, tasks)
                rows = play_all(folder, tasks, box, temperature)
                found[f"{name}, {control.value}"] = summary(name, rows)
    return found


def play_all(
    folder: Path, tasks: list[Task], toolbox: Toolbox, temperature: float
) -> list[tuple[Task, Episode]]:
    """One attempt at every task, its tools under the names that its tags say, if any."""
    engine = HFEngine(VLM.load(folder), synchronous=True)
    sampling = Sampling(temperature=temperature, max_tokens=160)
    seats = {"policy": Seat("policy", load_renderer(folder), engine, sampling)}

    def job(index: int) -> Callable[[], Awaitable[Episode]]:
        async def go() -> Episode:
            env = ToolEnvironment(*offered(tasks[index], toolbox), LIMITS)
            try:
                return await play(env, seats, key=(0, index))
            finally:
                await env.close()

        return go

    jobs = [job(i) for i in range(len(tasks))]
    episodes = asyncio.run(run_all(jobs, engine=engine, concurrency=0))
    return list(zip(tasks, episodes, strict=True))


def summary(name: str, rows: Sequence[tuple[Task, Episode]]) -> dict[str, Any]:
    """Means over some episodes of a world, and how often each tool was called.

    Where stretches of time are asked for, `tiou` is their mean overlap, and `words` the accuracy of
    what was asked for in words.

    Raises:
        RuntimeError: Something of ours broke: that is no wrong answer.
    """
    world = worlds.get(name)
    for task, episode in rows:
        if episode.stop.ours:
            raise RuntimeError(f"task {task.id} of world {name}: {episode.error or episode.stop}")
    called = Counter(c.name for _, e in rows for a in e.actions() for c in a.calls)
    found = {
        "accuracy": round(sum(world.right(t, e) for t, e in rows) / len(rows), 4),
        "answered": round(sum(e.answer is not None for _, e in rows) / len(rows), 4),
        "tools": {k: round(n / len(rows), 3) for k, n in sorted(called.items())},
    }
    overlap = mean([span_score(e.answer, t) for t, e in rows])
    if overlap is None:
        return found
    return {**found, "tiou": overlap, "words": mean([words_score(e.answer, t) for t, e in rows])}
