"""One run in its folder: step, tell, save; begin where the last checkpoint stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vtool.config import to_plain
from vtool.credit_note import NOTE
from vtool.errors import CheckpointError, RecipeError, VToolError
from vtool.families.vlm import VLM
from vtool.task import Task
from vtool.trace import TraceWriter

from . import durable, rng
from .alarms import Alarms
from .checkpoint import Checkpoints, Loaded
from .collect import Collected
from .credit_notes import credit_notes
from .heap import settled_heap
from .interrupts import Interrupts
from .learner import Learner, LearnerStopped
from .memory import Memory, load_all, save_all
from .metrics_log import MetricsLog
from .optimizer_state import optimizer_tensors, restore_optimizer
from .prefer import Preferrer
from .recipe import Recipe
from .regrow import tree_notes
from .resume import check_resume
from .rollouts import path_episode
from .train_state import TrainState
from .trainer import Trainer
from .warmstart import Imitator
from .weights import restore_weights, save_final, save_weights

OnStep = Callable[[int, Mapping[str, Any]], None]
Tell = Callable[[str], None]


class RunStopped(VToolError, RuntimeError):
    """An alarm ended the run; the last good weights are saved."""


class Cursor(Protocol):
    """Where a stream of examples stands."""

    cursor: int


class Session(Protocol):
    """What learns: from its own episodes (`Trainer`) or from a teacher's (`Imitator`)."""

    recipe: Recipe
    folder: Path
    vlm: VLM
    learner: Learner
    sampler: Cursor
    memories: Sequence[Memory]

    def task_of(self, task_id: str, step: int) -> Task:
        """A task as it was asked in a step."""
        ...

    @property
    def data_file(self) -> Path:
        """What the examples are read from."""
        ...

    async def step(self) -> tuple[dict[str, float], Collected | None]:
        """Learn once."""
        ...

    def publish(self) -> None:
        """Hand the weights to whoever draws from them."""
        ...

    async def close(self) -> None:
        """End what it holds outside this process."""
        ...


SESSIONS: dict[str, Callable[[Recipe, Path, Path | None], Session]] = {
    "rl": Trainer,
    "imitate": Imitator,
    "prefer": Preferrer,
}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended.

    Args:
        out: Its folder.
        model: The trained checkpoint; None where there is none (yet).
        steps: Steps done.
        metrics: Of the last step that was done now; empty if there was none.
        seconds: Time spent now.
        finished: Whether all that the recipe asks for is done.
        exit_code: 0, or 130 (ctrl-C) or 143 (SIGTERM): saved, to be resumed.
    """

    out: Path
    model: Path | None
    steps: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: bool = True
    exit_code: int = 0


class Run:
    """One run in its folder.

    Args:
        recipe: Without stages.
        out: Folder; locked by the caller.
        model: Folder of the first weights instead of the recipe's.
        on_step: Told each step.
        tell: Told sentences.
        hook: Called during saves.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        model: Path | None = None,
        on_step: OnStep | None = None,
        tell: Tell | None = None,
        hook: Callable[[str], None] | None = None,
    ) -> None:
        self.recipe, self.out, self.model = recipe, out, model
        self.on_step = on_step or silent
        self.tell = tell or silent
        self.checkpoints = Checkpoints(out / "checkpoints", recipe.keep, hook)
        self.alarms = Alarms(recipe.alarms)
        self.metrics: dict[str, Any] = {}
        self.session: Session
        self.plain: dict[str, Any]
        self._saved = -1

    def begin(self, *, resume: bool, force: Sequence[str]) -> None:
        """Build what learns, and put it where the last checkpoint stands."""
        loaded = self.checkpoints.load_latest()
        if loaded is not None and not resume:
            raise CheckpointError(
                f"{self.out} holds a run already (step {loaded.state.step}): resume it, or use "
                "another folder"
            )
        self.session = SESSIONS[self.recipe.kind](self.recipe, self.out, self.model)
        self.plain = plain_recipe(self.session)
        if loaded is not None:
            for difference in check_resume(loaded.state.recipe, self.plain, force):
                self.tell(f"resumed with {difference}")
            self._restore(loaded)
        durable.replace_json(self.out / "recipe.json", self.plain)

    def go(self, interrupts: Interrupts) -> TrainResult:
        """Step until the recipe's steps are done or somebody asks to stop."""
        began = time.monotonic()
        learner = self.session.learner
        with MetricsLog(self.out, self.recipe.tensorboard) as log, settled_heap():
            log.resume(learner.done)
            try:
                while learner.done < self.recipe.steps and interrupts.caught is None:
                    self._step(log)
            except KeyboardInterrupt:
                # Asked twice: weights may be half changed, so nothing is saved.
                self.tell(f"step {learner.done + 1} was abandoned")
            except LearnerStopped:
                self.save()
                raise
            else:
                self.save()
        done = learner.done >= self.recipe.steps
        if interrupts.caught is not None:
            self.tell(f"stopped by {interrupts.caught.name} after step {learner.done}")
        return TrainResult(
            out=self.out,
            model=self._finish() if done else None,
            steps=learner.done,
            metrics=self.metrics,
            seconds=time.monotonic() - began,
            finished=done,
            exit_code=0 if done else interrupts.exit_code,
        )

    def close(self) -> None:
        """End what the session holds outside this process."""
        asyncio.run(self.session.close())

    def save(self) -> None:
        """Write a checkpoint of the weights as they are, unless it is there."""
        step = self.session.learner.done
        if step == self._saved:
            return
        memories = self.session.memories
        self.checkpoints.save(
            self.state(),
            write_model=self.write_model,
            write_memory=(lambda f: save_all(memories, f)) if memories else None,
        )
        self._saved = step

    def write_model(self, folder: Path) -> None:
        """Weights (or the adapter) in plain Hugging Face layout, with tokenizer and syntax."""
        save_weights(self.session.vlm, self.session.folder, folder, self.recipe)

    def state(self) -> TrainState:
        """All but the weights."""
        learner = self.session.learner
        tensors, layout = optimizer_tensors(learner.raw_optimizer, learner.names)
        return TrainState(
            step=learner.done,
            tensors=tensors,
            optimizer=layout,
            rng=rng.capture(),
            cursor={"drawn": self.session.sampler.cursor},
            adaptive={"alarms": self.alarms.state(), "skipped": learner.skipped},
            recipe=self.plain,
            weight_version=learner.done,
        )

    def _step(self, log: MetricsLog) -> None:
        metrics, collected = asyncio.run(self.session.step())
        number = self.session.learner.done
        self.metrics = metrics
        log.write(number, metrics)
        self.on_step(number, metrics)
        if collected is not None and self._traced(number):
            write_groups(self.out / "trace" / f"step-{number:06d}", collected, number)
        self._watch(number, metrics)
        if number % self.recipe.checkpoint_every == 0:
            self.save()

    def _traced(self, number: int) -> bool:
        every = self.recipe.trace_every
        return bool(every) and (number in (1, self.recipe.steps) or number % every == 0)

    def _watch(self, number: int, metrics: Mapping[str, Any]) -> None:
        for alarm in self.alarms.check(number, metrics):
            self.tell(f"alarm {alarm.name}: {alarm.message}")
            if alarm.fatal or alarm.name in self.recipe.stop_on:
                if not alarm.fatal:
                    self.save()
                raise RunStopped(f"alarm {alarm.name}: {alarm.message}")

    def _restore(self, loaded: Loaded) -> None:
        for said in loaded.skipped:
            self.tell(f"{said}; using {loaded.path.name} instead")
        state, session = loaded.state, self.session
        restore_weights(session.vlm, loaded.model)
        learner = session.learner
        restore_optimizer(learner.raw_optimizer, learner.names, state.tensors, state.optimizer)
        learner.done, learner.skipped = state.step, int(state.adaptive["skipped"])
        session.sampler.cursor = int(state.cursor["drawn"])
        load_all(session.memories, loaded.memory, session.task_of)
        self.alarms.restore(state.adaptive["alarms"])
        session.publish()
        self._saved = state.step
        # Last: building and loading may have drawn from the global generators.
        rng.restore(state.rng)
        self.tell(f"resumed after step {state.step} of {self.recipe.steps}")

    def _finish(self) -> Path:
        final, staging = self.out / "model", self.out / "model.incomplete"
        durable.discard(staging)
        save_final(self.session.vlm, self.session.folder, staging, self.recipe)
        durable.sync_tree(staging)
        durable.discard(final)
        staging.rename(final)
        return final


def plain_recipe(session: Session) -> dict[str, Any]:
    """A recipe as plain values, with the digest of the data that it really reads."""
    plain = to_plain(session.recipe)
    if not isinstance(plain, dict):
        raise RecipeError("a recipe must be a dataclass")
    return {**plain, "data_digest": durable.sha256(session.data_file)}


def write_groups(folder: Path, collected: Collected, step: int) -> None:
    """Write a step's episodes and scores as a trace; one of the same step is replaced.

    Every attempt is a line of its own, also where several share a record: its notes say where it
    parted from the others (see `regrow`), and what credit it got (see `credit_note`).
    """
    durable.discard(folder)
    told = iter(credit_notes(collected) if collected.judges is not None else [])
    with TraceWriter(folder) as writer:
        rows = zip(collected.tasks, collected.groups, collected.scores, strict=True)
        for task, group, scores in rows:
            given = next(told, [None] * len(scores))
            attempts = zip(group.episodes, scores, tree_notes(group), given, strict=True)
            for attempt, (episode, score, notes, credit) in enumerate(attempts):
                meta = {
                    "attempt": attempt,
                    "tags": dict(task.tags),
                    "reference": to_plain(task.reference),
                    "step": step,
                    **notes,
                }
                if credit is not None:
                    meta[NOTE] = credit.model_dump(mode="json", exclude_defaults=True)
                writer.write(path_episode(episode), score, meta)


def silent(*_: object) -> None:
    """Tell nobody."""
