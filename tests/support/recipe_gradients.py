"""The gradient of a recipe on recorded episodes, and of the same recipe without a component."""

import asyncio
import dataclasses
from pathlib import Path

import torch
from vtool.rl.learner import Learner
from vtool.rl.prefer import Preferrer
from vtool.rl.recipe import Recipe, load_recipe
from vtool.rl.stages import Artefacts, stage_folder, stage_recipe
from vtool.rl.train import train
from vtool.rl.trainer import Trainer

from vtool.record import Group, StopReason

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
    "portool": ("sampler.options={starts: 2, fork: 2}",),
    "spear": ("replay.imitation.capacity=4",),
    "craft_gui": (
        "curriculum=[{name: stage, options: {by: zooms, order: [0, 1, 2], until: [1, 2]}}]",
    ),
}
"""What else must be small where attempts are six."""


def small(name: str, extra: tuple[str, ...] = (), model: str = "tiny/weak") -> Recipe:
    """A shipped recipe cut down to three steps of 24 attempts."""
    most = {"one": 24, "two": 8, "none": 8 if name == "craft_gui" else 0}
    kept = {k: min(v, most.get(k, v)) for k, v in options_of(name).items() if k != "ask"}
    kept |= {k: v for k, v in options_of(name).items() if k == "ask"}
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


def failures(found: list) -> list:
    """The same tasks, where everybody did what one attempt that went wrong did."""
    out = []
    for task, group in found:
        wrong = [e for e in group.episodes if e.stop is not StopReason.ANSWERED]
        wrong += [e for e in group.episodes if e.answer not in task.reference.texts]
        if wrong:
            out.append((task, Group(group.task_id, (wrong[0],) * len(group.episodes))))
    return out


def gradient(recipe: Recipe, out: Path, rounds: list) -> torch.Tensor:
    """Of all weights, one after the other, in each round of recorded episodes.

    The weights are moved a little first, by the same noise always, so that ratios leave 1 as they
    do in later updates.
    """
    trainer = Trainer(recipe, out)
    shake(trainer.learner)
    return torch.cat([_of_round(trainer, found) for found in rounds if found])


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
    got = capture(trainer.learner)
    number = trainer.step_number
    collected = asyncio.run(
        trainer.collector.collect(
            lambda n: [t for t, _ in found], len(found), key=(0,), step=number
        )
    )
    trainer.learner.step([trainer.sample(c) for c in collected.credits])
    nothing = torch.zeros(sum(p.numel() for _, p in trainer.learner.policy.named()))
    return got[0] if got else nothing
