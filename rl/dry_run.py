"""What a run would take: one group is played for real, the rest is arithmetic."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

from .recipe import Recipe

TRAIN_SHARE = 1.5
"""Seconds of learning per second of playing, as measured on the tiny policy on one core."""


def estimate(recipe: Recipe) -> dict[str, Any]:
    """Tokens, seconds and disk of a run.

    Only reinforcement runs without stages are played; the others are resolved, no more.
    """
    if recipe.stages or recipe.kind != "rl":
        names = [str(s.get("name", i)) for i, s in enumerate(recipe.stages)]
        return {"kind": recipe.kind, "stages": names}
    from .trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        # A world is written to disk before it is read; for one group a few pictures do.
        trainer = Trainer(_small(recipe), Path(folder))
        began = time.monotonic()
        collected = asyncio.run(
            trainer.collector.collect(
                lambda n: [trainer.tasks[i] for i in trainer.sampler.draw(n)],
                1,
                key=(recipe.seed, 0),
            )
        )
        seconds = time.monotonic() - began
        episodes = [episode for _, episode, _ in collected.episodes()]
        weights = sum(p.numel() * p.element_size() for p in trainer.vlm.parameters())
    tokens = sum(len(c) for e in episodes for c in e.contexts) / max(1, len(episodes))
    per_step = recipe.prompts * seconds * (1 + TRAIN_SHARE)
    return {
        "tokens an episode": round(tokens, 1),
        "episodes a step": recipe.prompts * recipe.group_size,
        "tokens a step": round(tokens * recipe.prompts * recipe.group_size),
        "seconds a step, at most": round(per_step, 1),
        "hours in all, at most": round(per_step * recipe.steps / 3600, 2),
        "weights in MB": round(weights / 1e6, 1),
        "checkpoints in MB": round(3 * weights * recipe.keep / 1e6, 1),
        "stops": sorted({str(e.stop) for e in episodes}),
    }


def _small(recipe: Recipe) -> Recipe:
    if recipe.data.path is not None:
        return recipe
    counts = {k: min(4, int(recipe.data.options.get(k, 0))) for k in ("none", "one", "two")}
    options = {**recipe.data.options, **counts}
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, options=options))
