"""Make a deliberately weak start: the skills stay, the habits are bad.

A few steps on a mix of good tool use, zooms at random places, and answers without a look. What
reinforcement learning then has to find again is behaviour, not perception.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtool.families.vlm import VLM
from vtool.worlds import zoom as world
from vtool.worlds.drawing import Pixels

from .expert import ROUND, Demo, Scribe, Step, jittered_box, region_of, retarget, steps
from .teach import Lesson, Log, teach
from .views import zoom


@dataclass(frozen=True, slots=True)
class Habits:
    """Shares of what the spoiled demonstrations do with a question that needs a zoom."""

    good: float = 0.25
    random_box: float = 0.45
    direct: float = 0.3
    needless: float = 0.0
    """Share of the questions that need none in which they zoom all the same."""


def spoil(
    scene: world.Scene, rng: np.random.Generator, habits: Habits
) -> tuple[list[Step], list[Pixels]]:
    """An episode with a bad habit; its answer is always the right one."""
    made, views = steps(scene, rng)
    if not scene.path:
        return needless(scene, rng) if rng.random() < habits.needless else (made, views)
    draw = rng.random() * (habits.good + habits.random_box + habits.direct)
    if draw < habits.good:
        return made, views
    if draw >= habits.good + habits.random_box:
        return [made[-1]], views[:1]
    height, width = scene.pixels.shape[:2]
    picture = (0, 0, width, height)
    moved, seen = [], [scene.pixels]
    for step in made[:-1]:
        box = _elsewhere(step, rng)
        moved.append(Step(step.thought, image=step.image, box=box))
        crop, picture = zoom(scene.pixels, region_of(box, picture))
        seen.append(crop)
    return [*moved, made[-1]], seen


def needless(scene: world.Scene, rng: np.random.Generator) -> tuple[list[Step], list[Pixels]]:
    """A look at the disc that the question is about, although the first look tells the answer."""
    height, width = scene.pixels.shape[:2]
    picture = (0, 0, width, height)
    box = jittered_box(scene.target.box, picture, rng)
    crop, _ = zoom(scene.pixels, region_of(box, picture))
    (answered,), views = steps(scene, rng)
    return [Step(answered.thought, box=box), answered], [*views, crop]


def _elsewhere(step: Step, rng: np.random.Generator) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = step.box or (0, 0, 1000, 1000)
    w, h = x2 - x1, y2 - y1
    x = int(rng.integers(0, (1000 - w) // ROUND + 1)) * ROUND
    y = int(rng.integers(0, (1000 - h) // ROUND + 1)) * ROUND
    return x, y, x + w, y + h


def weaken(
    vlm: VLM,
    scribe: Scribe,
    lesson: Lesson,
    *,
    seed: int,
    log: Log,
    habits: Habits | None = None,
) -> None:
    """Spoil a policy in place; questions that need no zoom stay answered at once."""
    chosen = habits or Habits()

    def source(lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
        out: list[Demo] = []
        names, shares = list(lesson.kinds), np.array(list(lesson.kinds.values()))
        while len(out) < lesson.batch:
            kind = str(rng.choice(names, p=shares / shares.sum()))
            scene = world.draw(int(rng.integers(1 << 40)), kind=kind)
            if kind != "none":
                scene = retarget(scene, int(rng.integers(len(scene.discs))))
            out.append(scribe.write(scene, *spoil(scene, rng, chosen)))
        return out

    teach(vlm, scribe, lesson, seed=seed, log=log, source=source)
