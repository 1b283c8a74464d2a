"""`--dry-run`: everything a run needs, once and small, and what the whole of it would take."""

from __future__ import annotations

import asyncio
import dataclasses
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from vtool.config import to_plain
from vtool.errors import CheckpointError
from vtool.reward import Unscored
from vtool.toolbox import Toolbox
from vtool.worlds.world import worlds

from .assembly import make_judges, model_folder, open_tasks, quiet_libraries
from .batch import Sample, make_sample
from .collect import Collected
from .credit_spec import check_options
from .footprint import adapter_parameters, estimate, train_flops, trainable
from .recipe import Recipe
from .shapes import Shape, shape_of
from .trainer import Trainer

_ANY = ("seed", "split")
"""Options that every world has."""
FEW, MANY = 2, 16
"""Attempts that are timed."""

SUSTAINED_FLOPS = 4e14
"""What an H200 keeps up in bfloat16 training: 40 % of its dense 989 TFLOP/s."""

OPTIMIZER_FLOATS = 2
"""AdamW keeps two numbers for each parameter."""


def dry_run(recipe: Recipe) -> dict[str, Any]:
    """Resolve a recipe, load its model and tasks, play a few attempts, try one step.

    Args:
        recipe: Of kind `rl`; nothing of it is written to disk, the step's weights included.

    Returns:
        The resolved recipe, the count of tasks, the model's size, the two attempts, and
        estimates for the whole run: tokens and seconds a step, hours, memory and disk. Seconds
        are extrapolated from a few attempts: good to a factor of about two. Of a published model
        that is not here, what its shape alone tells.

    Raises:
        CheckpointError: No such checkpoint, and no published model of that name.
    """
    quiet_libraries()
    try:
        model_folder(recipe.model)
    except CheckpointError as err:
        if shape_of(recipe.model) is None:
            raise
        check_parts(recipe)
        return told_by_shape(recipe, str(err))
    small = dataclasses.replace(recipe, group_size=MANY, prompts=1, refill=0, stages=())
    with tempfile.TemporaryDirectory(prefix="vtool-dry-run-") as folder:
        trainer = Trainer(small, Path(folder))
        shown, _ = _play(trainer, FEW)  # the first forward pass is slow: not timed
        few, many = _play(trainer, FEW), _play(trainer, MANY)
        samples = _samples(trainer, many[0])
        times = _time_backward(trainer, samples[:FEW]), _time_backward(trainer, samples)
        # What only a step finds out (a loss without its reference) is found out now.
        trainer.learner.step([trainer.sample(c) for c in many[0].credits])
        return {
            "recipe": to_plain(recipe),
            "tasks": len(trainer.tasks),
            "model": _size(trainer),
            "attempts": _attempts(shown),
            "estimate": _estimate(
                recipe,
                trainer,
                tokens=sum(len(s) for s in samples) / max(1, len(samples)),
                played=(few[1], many[1]),
                trained=times,
            ),
        }


def _play(trainer: Trainer, attempts: int) -> tuple[Collected, float]:
    trainer.collector = dataclasses.replace(trainer.collector, group_size=attempts)
    began = time.monotonic()
    return asyncio.run(trainer.play(0)), time.monotonic() - began


def _samples(trainer: Trainer, collected: Collected) -> list[Sample]:
    contexts = [c for _, e, _ in collected.episodes() for c in e.contexts if c.has_tokens]
    return [make_sample(c, trainer.renderer, trainer.vlm.family) for c in contexts]


def _time_backward(trainer: Trainer, samples: list[Sample]) -> float:
    began = time.monotonic()
    for batch in trainer.learner.batches(samples):
        logp, _ = trainer.learner.model(batch)
        logp.sum().backward()
    trainer.learner.optimizer.zero_grad(set_to_none=True)
    return time.monotonic() - began


def _size(trainer: Trainer) -> dict[str, Any]:
    parameters = list(trainer.vlm.model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return {
        "folder": str(trainer.folder),
        "family": trainer.vlm.family.name,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": trainable,
        "dtype": str(trainer.vlm.dtype).removeprefix("torch."),
    }


def _attempts(collected: Collected) -> list[dict[str, Any]]:
    return [
        {
            "task": task.id,
            "stop": str(episode.stop),
            "answer": episode.answer,
            "error": episode.error,
            "turns": [a.text for a in episode.actions()],
            "tokens": len(episode.final) if episode.contexts else 0,
            "reward": None if isinstance(score.total, Unscored) else score.total,
        }
        for task, episode, score in collected.episodes()
    ]


def _estimate(
    recipe: Recipe,
    trainer: Trainer,
    *,
    tokens: float,
    played: tuple[float, float],
    trained: tuple[float, float],
) -> dict[str, float]:
    attempts = recipe.prompts * recipe.group_size
    learning = line(trained, attempts) * recipe.learner.inner_epochs
    seconds = line(played, attempts) + learning
    shape = Shape.of(trainer.vlm.model.config.to_dict())
    return {
        "tokens_per_step": round(tokens * attempts),
        "seconds_per_step": round(seconds, 2),
        "hours": round(seconds * recipe.steps / 3600, 3),
        **estimate(shape, recipe, recipe.learner.batch_tokens).rows(),
        "memory_so_far_gib": round(_peak() / 2**30, 3),
        "disk_gib": round(_disk(shape, recipe) / 2**30, 4),
    }


def check_parts(recipe: Recipe) -> None:
    """Find what a run would find at its start, as far as no model is needed for it.

    Raises:
        UnknownName: A reward part, combine, tool or world that nothing answers to.
        RecipeError: Options that they do not have.
        DataError: A task file that cannot be read, or of which no task is left.
    """
    Toolbox(recipe.tools)
    make_judges(recipe)
    for key, spec in (("data", recipe.data), ("eval.data", recipe.eval.data)):
        if spec.path:
            open_tasks(spec, Path())
        elif key == "data" or recipe.eval.every:
            for name, own in (spec.worlds or {spec.world: {}}).items():
                given = {k: v for k, v in {**spec.options, **own}.items() if k not in _ANY}
                check_options(f"{key}.options", worlds.get(name or "").make, given)


def told_by_shape(recipe: Recipe, why: str) -> dict[str, Any]:
    """What can be said of a run before its model is here: memory, tokens and arithmetic.

    Args:
        recipe: The run; its model is one of `shapes.PUBLISHED`.
        why: Why the weights are not here.
    """
    shape = shape_of(recipe.model)
    assert shape is not None
    attempts = recipe.prompts * recipe.group_size
    most = attempts * recipe.limits.max_tokens
    flops = train_flops(shape, recipe, most)
    return {
        "recipe": to_plain(recipe),
        "model": {
            "name": recipe.model,
            "parameters": shape.parameters,
            "trainable": adapter_parameters(shape, recipe) or trainable(shape, recipe),
            "here": False,
            "why": why,
        },
        "estimate": {
            "most_tokens_per_step": most,
            "learning_petaflop_per_step": round(flops / 1e15, 2),
            "learning_seconds_per_step": round(flops / SUSTAINED_FLOPS, 1),
            **estimate(shape, recipe, recipe.learner.batch_tokens).rows(),
            "disk_gib": round(_disk(shape, recipe) / 2**30, 2),
            "read": "tokens as if every attempt used its whole context; seconds at "
            f"{SUSTAINED_FLOPS:.0e} operations a second, without the playing of attempts",
        },
    }


def _disk(shape: Shape, recipe: Recipe) -> float:
    """Bytes of the checkpoints that are kept, one that is being written, and the last weights."""
    low_rank = adapter_parameters(shape, recipe)
    learnt = low_rank or trainable(shape, recipe)
    whole = shape.parameters * (2 if recipe.precision == "bfloat16" else 4)
    saved = (low_rank * 4 or whole) + learnt * OPTIMIZER_FLOATS * 4
    return float(saved * (recipe.keep + 1) + whole)


def line(times: tuple[float, float], attempts: int) -> float:
    """Seconds for so many attempts, on the line through what `FEW` and `MANY` of them took."""
    few, many = times
    each = max(0.0, many - few) / (MANY - FEW)
    return many + each * (attempts - MANY)


def _peak() -> float:
    """Most memory that this process has held, in bytes; on an accelerator, there."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) * (1 if sys.platform == "darwin" else 1024)
