"""The training loop's ten lines, and what they stand on."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from vtool.data import TaskFile
from vtool.engines.hf import HFEngine
from vtool.families.vlm import VLM
from vtool.pairs import load_renderer
from vtool.seat import Seat
from vtool.toolbox import Toolbox

from .assembly import make_env, make_judges, model_folder, open_tasks, seed_everything
from .batch import Sample, make_sample
from .collect import Collected, Collector, describe
from .group_advantage import Credit
from .learner import Learner
from .policy import Policy
from .publish import publish
from .recipe import Recipe
from .sampler import Sampler


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
        self.vlm = VLM.load(self.folder)
        self.renderer = load_renderer(self.folder)
        self.engine = HFEngine(self.vlm, synchronous=True)
        policy = Policy(self.vlm, recipe.learner.freeze)
        reference = Policy(VLM.load(self.folder)) if recipe.reference else None
        self.learner = Learner(policy, recipe.learner, recipe.steps, reference)
        self.tasks = open_tasks(recipe.data, out)
        self.sampler = Sampler(len(self.tasks), recipe.seed)
        self._held_out: TaskFile | None = None
        self.collector = Collector(
            seats={"policy": Seat("policy", self.renderer, self.engine, recipe.sampling)},
            make_env=make_env(recipe, Toolbox(recipe.tools)),
            judges=make_judges(recipe),
            group_size=recipe.group_size,
            max_failed=recipe.max_failed,
        )

    @property
    def step_number(self) -> int:
        """Steps done."""
        return self.learner.done

    async def validate(self) -> dict[str, float]:
        """Greedy numbers on the recipe's held-out tasks; changes nothing that training reads."""
        spec = self.recipe.eval
        if self._held_out is None:
            self._held_out = open_tasks(spec.data, self.out, "eval-data")
        chosen = [self._held_out[i] for i in range(min(spec.count, len(self._held_out)))]
        seat = self.collector.seats["policy"]
        greedy = dataclasses.replace(seat.sampling, temperature=0.0)
        collector = dataclasses.replace(
            self.collector,
            seats={"policy": dataclasses.replace(seat, sampling=greedy)},
            group_size=1,
        )
        found = await collector.collect(lambda n: chosen, len(chosen), key=(self.recipe.seed,))
        numbers = describe(found, outcome=self.collector.judges.outcome)
        kept = ("accuracy", "reward/", "tool_rate", "turns", "time/generate")
        return {f"eval/{k}": v for k, v in numbers.items() if k.startswith(kept)}

    async def step(self) -> tuple[dict[str, float], Collected]:
        """Collect, score, learn, publish."""
        began = time.monotonic()
        collected = await self.play(self.step_number)
        metrics = describe(collected, outcome=self.collector.judges.outcome)
        laid = time.monotonic()
        samples = [self.sample(c) for c in collected.credits]
        trained = time.monotonic()
        metrics |= self.learner.step(samples)
        self.publish()
        metrics["time/train"] = time.monotonic() - trained
        if self.recipe.eval.every and self.step_number % self.recipe.eval.every == 0:
            metrics |= await self.validate()
        now = time.monotonic()
        metrics["time/other"] = trained - laid
        metrics["time/step"] = now - began
        return metrics, collected

    async def play(self, number: int) -> Collected:
        """Attempts at the next tasks; `number` and the recipe's seed decide all draws."""
        judges = dataclasses.replace(self.collector.judges, step=number)
        return await dataclasses.replace(self.collector, judges=judges).collect(
            lambda n: [self.tasks[i] for i in self.sampler.draw(n)],
            self.recipe.prompts,
            key=(self.recipe.seed, number),
            refill=self.recipe.refill,
        )

    def publish(self) -> None:
        """Hand the weights to the engine, as those of the steps done."""
        publish(self.vlm, self.engine, self.learner.done)

    @property
    def data_file(self) -> Path:
        """The task file."""
        return Path(self.tasks.path)

    def sample(self, credit: Credit) -> Sample:
        """What the learner sees of a context."""
        return make_sample(credit.context, self.renderer, self.vlm.family, credit.segments)

    def save_model(self, folder: Path) -> None:
        """A plain Hugging Face folder that every command of vtool takes."""
        from .export import export_checkpoint

        export_checkpoint(self.vlm, self.folder, folder)
