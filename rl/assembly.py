"""From a recipe's names to the things it names: model, tools, judges, tasks."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from vtool.data import TaskFile, load_tasks
from vtool.data_rows import Row
from vtool.environment import Environment, ToolEnvironment
from vtool.errors import DataError
from vtool.loading import find_checkpoint
from vtool.programs.budget import BudgetedEnvironment
from vtool.reward import choose
from vtool.task import Task
from vtool.toolbox import Toolbox

from . import rewards as _rewards  # noqa: F401  (registers our parts)
from .collect import Judges
from .curriculum import Curriculum, CurriculumSpec, make_curriculum
from .curriculum_dress import budget_of, dress_budget
from .other_weightings import all_options, make_combine, other_weightings
from .recipe import DataSpec, Recipe
from .tool_names import offered
from .world_files import write_world


def model_folder(name: str) -> Path:
    """A local checkpoint folder, a shipped one such as ``tiny/weak``, or one of a hub.

    Raises:
        CheckpointError: There is none of that name.
    """
    return find_checkpoint(name)


def make_judges(recipe: Recipe) -> Judges:
    """Reward parts and combine by name.

    Raises:
        UnknownName: Names the nearest.
        RecipeError: Options that the combine does not have, or another weighting that does not fit.
    """
    spec, outcome = recipe.reward.resolved, recipe.reward.outcome
    parts = tuple(choose(named) for named in spec.parts)
    combine = make_combine(spec.combine, spec.options)
    return Judges(
        parts,
        combine,
        recipe.estimator,
        recipe.estimator_options,
        recipe.weight,
        recipe.credit,
        recipe.mask,
        outcome,
        spec.combine,
        all_options(spec.combine, spec.options),
        other_weightings(spec.combine, spec.options, parts, outcome, spec.others),
    )


def open_tasks(spec: DataSpec, out: Path, name: str = "data") -> TaskFile:
    """The tasks of a recipe; worlds are written to disk first and then read like yours.

    Args:
        spec: Which tasks.
        out: Folder of the run.
        name: Folder in it that worlds are written to.

    Raises:
        DataError: No task is left.
        UnknownName: No such world.
    """
    path = Path(spec.path) if spec.path else write_world(spec, out / name)
    tasks = load_tasks(path / "tasks.jsonl" if path.is_dir() else path)
    if spec.only:
        tasks = tasks.where(
            lambda row: all((row.tags or {}).get(k) == v for k, v in spec.only.items())
        )
    if spec.ids:
        wanted = set(read_ids(Path(spec.ids)))
        tasks = tasks.where(lambda row: row.id in wanted)
    if not len(tasks):
        raise DataError(f"{path}: no task has the tags {dict(spec.only)} and an id of {spec.ids}")
    return tasks


def read_ids(path: Path) -> list[str]:
    """Task ids, one a line.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError as err:
        raise DataError(f"cannot read task ids from {path}: {err.strerror}") from err


def make_env(recipe: Recipe, toolbox: Toolbox) -> Callable[[Task, int], Environment]:
    """Makes environments of this recipe: task and attempt's seed to environment.

    Where the recipe has a budget, that of the task's tags holds, or else the whole. So do names
    of tools.
    """

    def make(task: Task, seed: int) -> Environment:
        asked, tools = offered(task, toolbox, recipe.tool_names)
        env = ToolEnvironment(asked, tools, recipe.limits, seed)
        if recipe.budget is None:
            return env
        return BudgetedEnvironment(env, budget_of(task) or recipe.budget.whole())

    return make


def make_tasks(recipe: Recipe, rows: Sequence[Row]) -> Curriculum:
    """Which tasks come when, and in what dress."""
    parts = [with_trace(spec, recipe.trace) for spec in recipe.curriculum]
    made = make_curriculum(parts, rows, recipe.seed)
    if recipe.budget is None:
        return made
    dressers = (*made.dressers, dress_budget(recipe.budget, recipe.seed))
    return dataclasses.replace(made, dressers=dressers)


def with_trace(spec: CurriculumSpec, trace: str | None) -> CurriculumSpec:
    """Demonstrations come from the recipe's trace, where they name none of their own."""
    if spec.name != "demo_anneal" or trace is None or "trace" in spec.options:
        return spec
    return dataclasses.replace(spec, options={**spec.options, "trace": trace})


def seed_everything(seed: int, threads: int) -> None:
    """Global generators and threads; what vtool draws is keyed and needs none of them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def quiet_libraries() -> None:
    """No progress bars for every file that is read or written: they tear the table apart."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
