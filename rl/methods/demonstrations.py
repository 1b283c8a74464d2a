"""Demonstrations for methods that show some: a ground's scripted best policy at its questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from vtool.trace import TraceWriter
from vtool.worlds.player import play_world
from vtool.worlds.world import worlds

from .. import durable
from ..assembly import open_tasks
from ..recipe import Recipe

MANY: Final = 48
DEMO: Final = "demo_anneal"


def with_demonstrations(recipe: Recipe, out: Path) -> Recipe:
    """The recipe with a trace to take demonstrations from, where it shows some and names none.

    Args:
        recipe: With its questions as files (`data.path`).
        out: Folder beside which the trace is kept, one a ground.
    """
    if recipe.trace is not None or all(spec.name != DEMO for spec in recipe.curriculum):
        return recipe
    folder = out / "worlds" / f"demonstrations-{Path(str(recipe.data.path)).name}"
    if not folder.is_dir():
        staging = folder.with_name(folder.name + ".incomplete")
        durable.discard(staging)
        write(recipe, staging)
        staging.rename(folder)
    return replace(recipe, trace=str(folder))


def write(recipe: Recipe, folder: Path) -> None:
    """Play the first questions and keep what was right."""
    world = worlds.get(recipe.data.world)
    tasks = open_tasks(recipe.data, folder.parent)
    chosen = [tasks[i] for i in range(min(MANY, len(tasks)))]
    with TraceWriter(folder) as writer:
        for played in play_world(world, chosen, world.best):
            if played.right:
                writer.write(played.episode)
