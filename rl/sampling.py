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
from .regrow import tree_notes
from .rollouts import path_episode
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
    outcome = trainer.recipe.reward.outcome
    if outcome not in [part.name for part in trainer.collector.judges.parts]:
        raise RecipeError(
            f"a `sample` run needs the reward part `{outcome}`, to know what was solved"
        )
    staging = out / (KEPT + ".incomplete")
    durable.discard(staging)
    frontier: list[str] = []
    metrics: dict[str, Any] = {}
    with TraceWriter(staging) as writer:
        for number in range(1, trainer.recipe.steps + 1):
            collected = asyncio.run(trainer.play(number))
            metrics = describe(collected, outcome=outcome)
            metrics["kept"] = _keep(writer, collected, trainer.recipe.trace_least, number)
            frontier += frontier_ids(collected, trainer.recipe.frontier, outcome)
            on_step(number, metrics)
            if stop():
                durable.discard(staging)
                return None
    (out / IDS).write_text("".join(f"{i}\n" for i in frontier), encoding="utf-8")
    durable.discard(out / KEPT)
    staging.rename(out / KEPT)
    return metrics


def frontier_ids(
    collected: Collected, which: str = "between", outcome: str = "answer"
) -> list[str]:
    """Tasks that some attempts solved and some did not, or (`solvable`) that some solved."""
    found = []
    for task, scores in zip(collected.tasks, collected.scores, strict=True):
        marks = [s.parts.get(outcome) for s in scores if not isinstance(s.total, Unscored)]
        right = [float(m) for m in marks if isinstance(m, int | float)]
        if sum(right) > 0 and (which == "solvable" or sum(right) < len(right)):
            found.append(task.id)
    return found


def _keep(writer: TraceWriter, collected: Collected, least: float | None, number: int) -> int:
    kept = 0
    rows = zip(collected.tasks, collected.groups, collected.scores, strict=True)
    for task, group, scores in rows:
        for episode, score, notes in zip(group.episodes, scores, tree_notes(group), strict=True):
            if isinstance(score.total, Unscored) or (least is not None and score.total < least):
                continue
            meta = {"tags": dict(task.tags), "step": number, **notes}
            writer.write(path_episode(episode), score, meta)
            kept += 1
    return kept
