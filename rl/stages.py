"""Recipes of several stages: each begins with what the ones before it made.

Imitate, then reinforce; sample, keep the best, imitate them; go on with the tasks that are
neither too easy nor too hard: each is a list of stages, not a script. A stage that is done is
not done again, one that was stopped is resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtool.config import build, merged, to_plain
from vtool.errors import RecipeError

from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class Stage:
    """Which stage begins; told to who shows a run, since each counts its steps from 1.

    Args:
        number: From 1.
        of: How many there are.
        name: Its name, or what kind of stage it is.
        steps: It has.
    """

    number: int
    of: int
    name: str
    steps: int


OnStage = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What stages hand on; each has the newest of each kind.

    Args:
        model: Checkpoint folder.
        trace: Episodes.
        ids: File with the ids of the tasks to go on with.
    """

    model: Path | None = None
    trace: Path | None = None
    ids: Path | None = None

    def found(self, out: Path) -> Artefacts:
        """With those that a finished stage left in its folder."""
        model, trace, ids = out / "model", out / "kept", out / "ids.txt"
        return Artefacts(
            model if model.is_dir() else self.model,
            trace if trace.is_dir() else self.trace,
            ids if ids.is_file() else self.ids,
        )


def stage_recipe(recipe: Recipe, number: int, have: Artefacts) -> Recipe:
    """The recipe of one stage, filled up from the whole and from what there is.

    Raises:
        RecipeError: The stage's keys do not fit.
    """
    stage = recipe.stages[number]
    whole = to_plain(dataclasses.replace(recipe, stages=()))
    body = merged(whole if isinstance(whole, dict) else {}, stage)
    if "trace" not in stage and have.trace is not None:
        body["trace"] = str(have.trace)
    if have.ids is not None and "ids" not in dict(stage.get("data") or {}):
        body["data"] = {**body["data"], "ids": str(have.ids)}
    made = build(Recipe, body, f"recipe {recipe.name}, stage {number + 1}")
    if made.stages:
        raise RecipeError(f"recipe {recipe.name}, stage {number + 1}: a stage has no stages")
    return made


def stage_folder(out: Path, recipe: Recipe, number: int) -> Path:
    """Where a stage's files go."""
    return out / f"{number + 1:02d}-{stage_name(recipe, number)}"


def stage_name(recipe: Recipe, number: int) -> str:
    """What a stage is called."""
    stage = recipe.stages[number]
    return str(stage.get("name") or stage.get("kind") or recipe.kind)


def train_stages(
    recipe: Recipe,
    out: Path,
    run: Callable[[Recipe, Path, Path | None], Any],
    begun: OnStage,
) -> Any:
    """Run all stages.

    Args:
        recipe: With stages.
        out: Folder; each stage gets one inside it.
        run: Trains a recipe in a folder from the weights of another one (None: the recipe's).
        begun: Told each stage before it is run.

    Returns:
        What `run` gave for the last stage, or for the one that was stopped.
    """
    have, result, many = Artefacts(), None, len(recipe.stages)
    for number in range(many):
        folder, part = stage_folder(out, recipe, number), stage_recipe(recipe, number, have)
        begun(Stage(number + 1, many, stage_name(recipe, number), part.steps))
        result = run(part, folder, have.model)
        if result.exit_code or not result.finished:
            return result
        have = have.found(folder)
    return result
