"""The `sample` stage: play tasks, keep good episodes and tasks worth going on with.

Rejection sampling and frontier selection in one pass: episodes that scored enough go into a trace
that an `imitate` stage learns from; tasks that were solved sometimes but not always are written
down for the stages that follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vtool.errors import RecipeError
from vtool.reward import Unscored
from vtool.trace import TraceWriter

from . import durable
from .collect import Collected, describe
from .trainer import Trainer

KEPT, IDS = "kept", "ids.txt"


def sample_episodes(
    trainer: Trainer,
    out: Path,
    on_step: Callable[[int, Mapping[str, Any]], None],
    stop: Callable[[], bool],
) -> dict[str, Any] | None:
    """Play `steps` times `prompts` tasks and write what is kept.

    Args:
        trainer: Plays; learns nothing here.
        out: Gets `kept/` (a trace) and `ids.txt`; both appear at the end, whole.
        on_step: Told each batch's number and metrics.
        stop: Asked after each batch.

    Returns:
        Metrics of the last batch; None if it was stopped: then nothing was written.
    """
    if "answer" not in trainer.recipe.reward.parts:
        raise RecipeError("a `sample` run needs the reward part `answer`, to know what was solved")
    staging = out / (KEPT + ".incomplete")
    durable.discard(staging)
    frontier: list[str] = []
    metrics: dict[str, Any] = {}
    with TraceWriter(staging) as writer:
        for number in range(1, trainer.recipe.steps + 1):
            collected = asyncio.run(trainer.play(number))
            metrics = describe(collected)
            metrics["kept"] = _keep(writer, collected, trainer.recipe.trace_least)
            frontier += frontier_ids(collected)
            on_step(number, metrics)
            if stop():
                durable.discard(staging)
                return None
    (out / IDS).write_text("".join(f"{i}\n" for i in frontier), encoding="utf-8")
    durable.discard(out / KEPT)
    staging.rename(out / KEPT)
    return metrics


def frontier_ids(collected: Collected) -> list[str]:
    """Tasks that some attempts solved and some did not."""
    found = []
    for task, scores in zip(collected.tasks, collected.scores, strict=True):
        marks = [s.parts.get("answer") for s in scores if not isinstance(s.total, Unscored)]
        right = [float(m) for m in marks if isinstance(m, int | float)]
        if right and 0 < sum(right) < len(right):
            found.append(task.id)
    return found


def _keep(writer: TraceWriter, collected: Collected, least: float | None) -> int:
    kept = 0
    for task, episode, score in collected.episodes():
        if isinstance(score.total, Unscored) or (least is not None and score.total < least):
            continue
        writer.write(episode, score, {"tags": dict(task.tags)})
        kept += 1
    return kept
