"""From a recipe's names to the things it names: model, tools, judges, tasks."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vtool.data import TaskFile, load_tasks
from vtool.environment import ToolEnvironment
from vtool.errors import DataError, RecipeError, UnknownName
from vtool.reward import combines, parts
from vtool.shipped import shipped
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.worlds.dataset import make as make_zoom

from . import rewards as _rewards  # noqa: F401  (registers our parts)
from .collect import Judges
from .recipe import DataSpec, Recipe

WORLDS = {"zoom": make_zoom}


def model_folder(name: str) -> Path:
    """A local checkpoint folder, or a shipped one such as ``tiny/weak``."""
    return Path(name) if Path(name).is_dir() else shipped(name)


def make_judges(recipe: Recipe) -> Judges:
    """Reward parts and combine by name.

    Raises:
        UnknownName: Names the nearest.
        RecipeError: Options that the combine does not have.
    """
    import vtool.combine  # noqa: F401  (registers ours)

    spec = recipe.reward
    try:
        combine = combines.get(spec.combine)(**spec.options)
    except TypeError as err:
        raise RecipeError(f"combine {spec.combine!r}: {err}") from err
    return Judges(
        tuple(parts.get(name) for name in spec.parts),
        combine,
        recipe.estimator,
        recipe.estimator_options,
    )


def open_tasks(spec: DataSpec, out: Path) -> TaskFile:
    """The tasks of a recipe; a world is written to disk first and then read like yours.

    Raises:
        DataError: No task is left.
        UnknownName: No such world.
    """
    path = Path(spec.path) if spec.path else write_world(spec, out / "data")
    tasks = load_tasks(path / "tasks.jsonl" if path.is_dir() else path)
    if spec.only:
        kept = tasks.where(
            lambda row: all((row.tags or {}).get(k) == v for k, v in spec.only.items())
        )
        if not len(kept):
            raise DataError(f"{path}: no task has the tags {dict(spec.only)}")
        return kept
    return tasks


def write_world(spec: DataSpec, folder: Path) -> Path:
    """Write a world's files once; a folder that is there already is used as it is."""
    if spec.world not in WORLDS:
        raise UnknownName("world", spec.world, WORLDS)
    if (folder / "tasks.jsonl").is_file():
        return folder
    options: dict[str, Any] = {"seed": 0, **spec.options}
    try:
        WORLDS[spec.world](folder, **options)
    except (TypeError, ValueError) as err:
        raise RecipeError(f"data.options: {err}") from err
    return folder


def make_env(recipe: Recipe, toolbox: Toolbox) -> Any:
    """Makes environments of this recipe: task and attempt's seed to environment."""

    def make(task: Task, seed: int) -> ToolEnvironment:
        return ToolEnvironment(task, toolbox, recipe.limits, seed)

    return make


def seed_everything(seed: int, threads: int) -> None:
    """Global generators and threads; what vtool draws is keyed and needs none of them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
