"""The gradient of a recipe on recorded episodes, and of the same recipe without a component."""

import asyncio
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from scripts import answer_text, completion, zoom_text
from vtool.rl.gathering import target_logprobs
from vtool.rl.learner import Learner
from vtool.rl.prefer import Preferrer
from vtool.rl.recipe import Recipe, load_recipe
from vtool.rl.stages import Artefacts, stage_folder, stage_recipe
from vtool.rl.train import train
from vtool.rl.trainer import Trainer

from vtool.programs.solo import play
from vtool.record import Episode, Group
from vtool.task import Attributes, Task

SMALL = (
    "prompts=4",
    "group_size=6",
    "steps=3",
    "checkpoint_every=100",
    "trace_every=0",
    "tensorboard=false",
    "stop_on=[]",
)
OWN = {
    "arpo": ("sampler.options={initial: 3, beam: 2}",),
    "spear": ("replay.imitation.capacity=4",),
    "craft_gui": (
        "curriculum=[{name: stage, options: {by: zooms, order: [0, 1, 2], until: [1, 2]}}]",
    ),
}
"""What else must be small where attempts are six."""


def small(name: str, extra: tuple[str, ...] = (), model: str = "tiny/weak") -> Recipe:
    """A shipped recipe cut down to three steps of 24 attempts."""
    most = {"one": 24, "two": 8, "none": 8 if name == "craft_gui" else 0}
    kept = {k: min(v, most[k]) if k in most else v for k, v in options_of(name).items()}
    recipe = load_recipe(name, (*SMALL, *OWN.get(name, ()), *extra))
    data = dataclasses.replace(recipe.data, options=kept)
    stages = tuple({**s, "steps": 3 if s.get("kind") != "sample" else 2} for s in recipe.stages)
    return dataclasses.replace(recipe, data=data, stages=stages, model=model)


def options_of(name: str) -> dict:
    """Of the recipe's world."""
    return dict(load_recipe(name).data.options)


def run(name: str, out: Path) -> list[dict]:
    """Train all stages; the metrics of the steps of the last one."""
    told = []
    recipe = small(name)
    train(recipe, out, on_step=lambda number, metrics: told.append(dict(metrics)))
    return told[-recipe.steps :]


def last_stage(recipe: Recipe, out: Path) -> Recipe:
    """The stage that is learnt from in the end, with what the earlier ones left in `out`.

    Its policy is one that answers well, so that there is something to tell apart.
    """
    if not recipe.stages:
        return dataclasses.replace(recipe, model="tiny/clean")
    have = Artefacts()
    for number in range(len(recipe.stages) - 1):
        have = have.found(stage_folder(out, recipe, number))
    made = stage_recipe(recipe, len(recipe.stages) - 1, have)
    return dataclasses.replace(made, model="tiny/clean")


class Recorded:
    """A sampler that gives what was played before."""

    waiting = 0

    def __init__(self, found):
        self.found = list(found)

    async def play(self, tasks, key, scene):
        return self.found


def played(recipe: Recipe, out: Path) -> list:
    """Tasks and groups of a step, with the first weights."""
    trainer = Trainer(recipe, out)
    found = asyncio.run(trainer.play(0))
    return list(zip(found.tasks, found.groups, strict=True))


def recorded(recipe: Recipe, out: Path) -> list:
    """Groups of six scripted attempts that differ in all that a method may look at."""
    trainer = Trainer(recipe, out)
    tasks = [trainer.curriculum.dress(trainer.tasks[i], 0) for i in range(3)]
    return [(task, Group(task.id, tuple(_attempts(trainer, task)))) for task in tasks]


def _attempts(trainer: Trainer, task: Task) -> list[Episode]:
    found = []
    for number, texts in enumerate(script(task)):
        engine = Says(trainer.renderer, texts)
        seat = dataclasses.replace(trainer.collector.seats["policy"], engine=engine)
        env = trainer.collector.make_env(task, number)
        found.append(asyncio.run(play(env, {"policy": seat}, key=(number,))))
    return found


def script(task: Task) -> list[list[str]]:
    """Right and wrong, with and without a look, malformed, and with a look too many."""
    right, near, far = (_answer(task, shift) for shift in (0, 2, 1))
    place = task.evidence[-1].shape
    box = [round(1000 * v) for v in (place.x1, place.y1, place.x2, place.y2)]
    look, miss = zoom_text(box=box), zoom_text(box=(0, 0, 90, 90))
    return [
        [right],
        [look, right],
        [near],
        [miss, far],
        ["<tool_call>{</tool_call>", right],
        [look, look, right],
    ]


def _answer(task: Task, shift: int) -> str:
    if isinstance(task.reference, Attributes):
        digit = str((int(task.reference.values["digit"][0]) + shift) % 10)
        told = {"digit": digit, "parity": "odd" if int(digit) % 2 else "even"}
        return answer_text(json.dumps(told))
    return answer_text(str((int(task.reference.texts[0]) + shift) % 10))


class Says:
    """An engine that says one text a turn."""

    version = 0

    def __init__(self, renderer, texts):
        self.renderer, self.texts = renderer, list(texts)

    async def generate(self, request):
        text = self.texts.pop(0) if self.texts else answer_text("0")
        return completion(self.renderer, text, seed=sum(request.key))


def failures(found: list) -> list:
    """The same tasks, where everybody did what an attempt did that went wrong."""
    return [(t, Group(g.task_id, (g.episodes[2],) * len(g.episodes))) for t, g in found]


def gradient(recipe: Recipe, out: Path, rounds: list) -> torch.Tensor:
    """Of all weights, one after the other, in each round of recorded episodes.

    The weights are moved a little after the log-probs are taken, by the same noise always, so that
    ratios leave 1 as they do in later updates.
    """
    trainer = Trainer(recipe, out)
    return torch.cat([_of_round(trainer, found) for found in rounds])


def preferred(recipe: Recipe, out: Path) -> torch.Tensor:
    """Of a step that learns from pairs."""
    session = Preferrer(recipe, out)
    shake(session.learner)
    got = capture(session.learner)
    asyncio.run(session.step())
    return torch.cat(got)


def shake(learner: Learner, scale: float = 0.05) -> None:
    """Move the weights by noise."""
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, weight in learner.policy.named():
            size = scale * float(weight.abs().mean())
            weight += torch.randn(weight.shape, generator=noise) * size


def capture(learner: Learner) -> list[torch.Tensor]:
    """Gradients in the place of updates."""
    got: list[torch.Tensor] = []

    def keep() -> dict[str, float]:
        rows = [p for _, p in learner.policy.named()]
        got.append(
            torch.cat(
                [
                    torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                    for p in rows
                ]
            )
        )
        learner.optimizer.zero_grad(set_to_none=True)
        return {"grad_norm": float(got[-1].norm())}

    learner._apply = keep
    return got


def _of_round(trainer: Trainer, found: list) -> torch.Tensor:
    trainer.collector = dataclasses.replace(trainer.collector, sampler=Recorded(found))
    learner = trainer.learner
    collected = asyncio.run(
        trainer.collector.collect(lambda n: [t for t, _ in found], len(found), key=(0,))
    )
    samples = [trainer.sample(c) for c in collected.credits]
    rows = target_logprobs(learner.policy, samples, learner.batches(samples))
    for sample, row in zip(samples, rows, strict=True):
        sample.old_logp[np.flatnonzero(sample.target)] = row
    weights = {n: p.detach().clone() for n, p in learner.policy.named()}
    shake(learner)
    got = capture(learner)
    learner.step(samples)
    with torch.no_grad():
        for name, weight in learner.policy.named():
            weight.copy_(weights[name])
    return got[0] if got else torch.zeros(sum(p.numel() for p in weights.values()))
