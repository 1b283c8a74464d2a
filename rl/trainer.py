"""The training loop's ten lines, and what they stand on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from vtool.data import TaskFile
from vtool.engines.hf import HFEngine
from vtool.errors import DataError
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox

from .assembly import (
    make_env,
    make_judges,
    make_tasks,
    model_folder,
    open_tasks,
    seed_everything,
)
from .batch import Sample, make_sample
from .collect import Collected, Collector, describe
from .group_advantage import Credit
from .group_filter import FilterSpec
from .imitation_buffer import ImitationBuffer
from .learner import Learner
from .memory import Memory
from .policy import Policy
from .publish import publish
from .recipe import Recipe
from .replay import SuccessBuffer
from .rollout_sampler import Flat, make_sampler
from .schedule import scheduled
from .tool_names import in_evaluation
from .weights import open_renderer, open_vlm, reference_of


class Trainer:
    """One policy learning by reinforcement from its own episodes.

    Args:
        recipe: The run.
        out: Where its files go.
        model: Folder of the first weights; the recipe's by default.
    """

    def __init__(self, recipe: Recipe, out: Path, model: Path | None = None) -> None:
        seed_everything(recipe.seed, recipe.threads)
        self.recipe, self.out = recipe, out
        self.folder = model or model_folder(recipe.model)
        self.vlm = open_vlm(recipe, self.folder)
        self.renderer = open_renderer(recipe, self.folder)
        self.engine = HFEngine(self.vlm, synchronous=True)
        policy = Policy(self.vlm, recipe.learner.freeze, checkpointing=recipe.learner.checkpointing)
        reference = reference_of(recipe, self.folder, policy) if recipe.reference else None
        self.learner = Learner(policy, recipe.learner, recipe.steps, reference)
        self.tasks = open_tasks(recipe.data, out)
        self.curriculum = make_tasks(recipe, self.tasks.rows)
        self.sampler = self.curriculum.picker
        self.successes = _successes(recipe)
        self.imitation = _imitation(recipe)
        self.toolbox = Toolbox(recipe.tools)
        self._numbers: dict[str, int] | None = None
        self._held_out: TaskFile | None = None
        self.collector = Collector(
            seats={"policy": Seat("policy", self.renderer, self.engine, recipe.sampling)},
            make_env=make_env(recipe, self.toolbox),
            judges=make_judges(recipe),
            group_size=recipe.group_size,
            max_failed=recipe.max_failed,
            sampler=make_sampler(recipe.sampler),
            filter=recipe.filter,
            rescue=self.successes,
            vocab=self.vlm.vocab_size,
            learn=self.sampler.learn,
        )

    @property
    def memories(self) -> list[Memory]:
        """What is remembered between steps besides weights and the place in the tasks."""
        parts = (self.collector.sampler, self.sampler, self.successes, self.imitation)
        return [p for p in parts if hasattr(p, "save")]  # type: ignore[misc]

    def task_of(self, task_id: str, step: int) -> Task:
        """A task as it was asked in a step.

        Raises:
            DataError: The task file has no such task any more.
        """
        if self._numbers is None:
            self._numbers = {name: i for i, name in enumerate(self.tasks.ids)}
        if task_id not in self._numbers:
            raise DataError(f"{self.tasks.path} has no task {task_id!r}, which a memory names")
        return self.curriculum.dress(self.tasks[self._numbers[task_id]], step)

    async def close(self) -> None:
        """End what tools hold: worker processes and connections."""
        await self.toolbox.close()

    @property
    def step_number(self) -> int:
        """Steps done."""
        return self.learner.done

    async def validate(self) -> dict[str, float]:
        """Greedy numbers on the recipe's held-out tasks; changes nothing that training reads."""
        spec = self.recipe.eval
        if self._held_out is None:
            self._held_out = open_tasks(spec.data, self.out, "eval-data")
        rows = [self._held_out[i] for i in range(min(spec.count, len(self._held_out)))]
        chosen = in_evaluation(rows, spec.tool_names)
        seat = self.collector.seats["policy"]
        greedy = dataclasses.replace(seat.sampling, temperature=0.0)
        collector = dataclasses.replace(
            self.collector,
            seats={"policy": dataclasses.replace(seat, sampling=greedy)},
            group_size=1,
            sampler=Flat(),
            filter=FilterSpec(),
            rescue=None,
            learn=None,
        )
        found = await collector.collect(lambda n: chosen, len(chosen), key=(self.recipe.seed,))
        numbers = describe(found, outcome=self.collector.judges.outcome)
        kept = ("accuracy", "reward/", "tool_rate", "turns", "time/generate")
        return {f"eval/{k}": v for k, v in numbers.items() if k.startswith(kept)}

    async def step(self) -> tuple[dict[str, float], Collected]:
        """Collect, score, learn, publish."""
        began, number = time.monotonic(), self.step_number
        now, moved = scheduled(self.recipe, number)
        self._set(now)
        collected = await self.play(number)
        if self.imitation is not None:
            self._imitate(self.imitation, collected, number)
        metrics = describe(collected, outcome=self.collector.judges.outcome) | moved
        laid = time.monotonic()
        samples = [self.sample(c) for c in collected.credits]
        again = [self.sample(c) for c in collected.replayed]
        trained = time.monotonic()
        metrics |= self.learner.step(samples, again)
        metrics = with_age(metrics, collected, number)
        self.publish()
        metrics["time/train"] = time.monotonic() - trained
        if self.recipe.eval.every and self.step_number % self.recipe.eval.every == 0:
            metrics |= await self.validate()
        ended = time.monotonic()
        metrics["time/other"] = trained - laid
        metrics["time/step"] = ended - began
        return metrics, collected

    async def play(self, number: int) -> Collected:
        """Attempts at the next tasks; `number` and the recipe's seed decide all draws."""
        self.sampler.begin(number)
        if self.successes is not None:
            self.successes.begin(number)

        def draw(count: int) -> list[Task]:
            chosen = self.sampler.draw(count)
            return [self.curriculum.dress(self.tasks[i], number) for i in chosen]

        return await self.collector.collect(
            draw,
            self.recipe.prompts,
            key=(self.recipe.seed, number),
            refill=self.recipe.refill,
            step=number,
        )

    def _set(self, now: Recipe) -> None:
        """Let the numbers of this step hold, where any are scheduled."""
        if now is self.recipe:
            return
        self.learner.settings = dataclasses.replace(self.learner.settings, loss=now.learner.loss)
        self.collector = dataclasses.replace(self.collector, judges=make_judges(now))

    def _imitate(self, buffer: ImitationBuffer, collected: Collected, number: int) -> None:
        """Let the buffer see a step's groups, and take from it what is to be learnt again."""
        rows = zip(collected.groups, collected.scores, strict=True)
        for i, (group, scores) in enumerate(rows):
            buffer.add(group, scores, collected.credits_of(i), number)
        collected.replayed = buffer.take(number)

    def publish(self) -> None:
        """Hand the weights to the engine, as those of the steps done."""
        publish(self.vlm, self.engine, self.learner.done)

    @property
    def data_file(self) -> Path:
        """The task file."""
        return Path(self.tasks.path)

    def sample(self, credit: Credit) -> Sample:
        """What the learner sees of a context."""
        return make_sample(
            credit.context,
            self.renderer,
            self.vlm.family,
            credit.laid,
            whole=credit.whole,
            given=credit.given,
        )


def with_age(metrics: Mapping[str, float], collected: Collected, step: int) -> dict[str, float]:
    """Metrics, with how old the tokens are that were learnt from.

    Tokens of earlier weights differ from the learner's log-probs by right: what tells engine and
    learner apart is told under another name in such a step, where no alarm watches it.
    """
    versions = [
        s.version
        for c in collected.credits
        for s in c.context.segments[c.context.shared :]
        if s.version is not None
    ]
    oldest = step - min(versions, default=step)
    if oldest <= 0:
        return dict(metrics)
    told = {k.replace("mismatch", "off_policy"): v for k, v in metrics.items()}
    stale = sum(v < step for v in versions) / len(versions)
    return {**told, "staleness_max": float(oldest), "stale_segments": stale}


def _successes(recipe: Recipe) -> SuccessBuffer | None:
    spec = recipe.replay.rescue
    return None if spec is None else SuccessBuffer(spec, recipe.seed)


def _imitation(recipe: Recipe) -> ImitationBuffer | None:
    spec = recipe.replay.imitation
    return None if spec is None else ImitationBuffer(spec, recipe.seed)
