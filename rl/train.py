"""`train`: a recipe and a folder in, a trained checkpoint out.

A run is a folder: `recipe.json`, `metrics.jsonl`, `checkpoints/`, `trace/`, and at the end
`model/`. Started again on the same folder, it goes on where its last checkpoint stands and ends
with the same bits as a run that was never stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtool.errors import CheckpointError, UnknownName

from .assembly import quiet_libraries
from .interrupts import Interrupts
from .lock import RunLock
from .recipe import Recipe
from .run import SESSIONS, OnStep, Run, Tell, TrainResult, silent
from .sampling import IDS, KEPT, sample_episodes
from .stages import OnStage, train_stages
from .trainer import Trainer

KINDS = (*SESSIONS, "sample", "tiny")


def train(
    recipe: Recipe,
    out: Path | str,
    *,
    resume: bool = True,
    force: Sequence[str] = (),
    on_step: OnStep | None = None,
    tell: Tell | None = None,
    model: Path | None = None,
    hook: Callable[[str], None] | None = None,
    on_stage: OnStage | None = None,
) -> TrainResult:
    """Train a policy as a recipe says.

    Args:
        recipe: The run; its stages, where it has any, are run one after the other.
        out: Folder of the run.
        resume: Go on from the last checkpoint in `out`, if there is one.
        force: Keys of the recipe that may differ from those with which the run was started.
        on_step: Told each step's number (from 1) and metrics.
        tell: Told sentences: alarms, what is resumed, what was skipped.
        model: Folder of the first weights instead of the recipe's.
        hook: Called during saves, see `checkpoint.MOMENTS`; tests stop the process there.
        on_stage: Told each stage of a recipe that has some, before its first step.

    Raises:
        CheckpointError: `out` is in use, holds a run that may not be continued like this, or
            cannot be written.
        RunStopped: An alarm that is fatal, or that the recipe says should stop the run.
        LearnerStopped: Too many steps in a row had no finite gradient.
        VToolError: What the recipe names is missing or does not fit.
    """

    def one(part: Recipe, folder: Path, weights: Path | None) -> TrainResult:
        if part.kind not in KINDS:
            raise UnknownName("kind of run", part.kind, KINDS)
        with RunLock(folder), Interrupts() as interrupts:
            if part.kind == "sample":
                return _sample(part, folder, weights, interrupts, on_step or silent)
            if part.kind == "tiny":
                return _tiny(part, folder, tell or silent)
            run = Run(part, folder, model=weights, on_step=on_step, tell=tell, hook=hook)
            run.begin(resume=resume, force=force)
            try:
                return run.go(interrupts)
            finally:
                run.close()

    quiet_libraries()
    folder = Path(out)
    if recipe.stages:
        with RunLock(folder):
            return train_stages(recipe, folder, one, on_stage or silent)
    return one(recipe, folder, model)


def _sample(
    recipe: Recipe, out: Path, model: Path | None, interrupts: Interrupts, on_step: OnStep
) -> TrainResult:
    if (out / KEPT).is_dir() and (out / IDS).is_file():
        return TrainResult(out=out, model=None, steps=recipe.steps)
    began = time.monotonic()
    trainer = Trainer(recipe, out, model)
    try:
        metrics = sample_episodes(trainer, out, on_step, lambda: interrupts.caught is not None)
    finally:
        asyncio.run(trainer.close())
    return TrainResult(
        out=out,
        model=None,
        steps=recipe.steps if metrics is not None else 0,
        metrics=metrics or {},
        seconds=time.monotonic() - began,
        finished=metrics is not None,
        exit_code=0 if metrics is not None else interrupts.exit_code,
    )


def _tiny(recipe: Recipe, out: Path, tell: Tell) -> TrainResult:
    """The shipped policies of a world from nothing: `clean/` and `weak/`."""
    if recipe.data.world == "moments":
        from .tiny.moments_build import build
    else:
        from .tiny.warmstart import build

    if (out / "clean").exists():
        raise CheckpointError(f"{out} holds a policy already: use another folder")
    began = time.monotonic()

    def log(entry: Mapping[str, Any]) -> None:
        tell(" ".join(f"{k}={v}" for k, v in entry.items()))

    found = build(out, seed=recipe.seed, minutes=recipe.minutes, log=log)
    return TrainResult(
        out=out, model=out / "clean", steps=0, metrics=found, seconds=time.monotonic() - began
    )
