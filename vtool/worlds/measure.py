"""What a world is worth: chance, the controls, a random policy and the scripted best, measured."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np

from vtool.data import load_tasks
from vtool.message import Json
from vtool.task import Task
from vtool.tool import ToolSpec
from vtool.toolbox import Toolbox
from vtool.toolspec import Kind, Param

from .player import Played, play_world
from .program import Look, Program, Seen, Use
from .without import Without, take_away
from .world import World, worlds

Z: Final = 1.959963984540054
"""Of a two-sided interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many were right, with the interval that this number allows."""

    right: int
    count: int
    calls: float = 0.0
    """Mean calls an episode."""

    @property
    def value(self) -> float:
        """The share."""
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval, 95 %.

        Source: Wilson, Probable inference, the law of succession, and statistical inference,
            1927.
        """
        return wilson(self.right, self.count)

    def net(self, price: float) -> float:
        """The share less what its calls cost."""
        return self.value - price * self.calls


def wilson(right: int, count: int, z: float = Z) -> tuple[float, float]:
    """Interval of a share of `count` draws."""
    p, spread = right / count, z * z / count
    middle = (p + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(p * (1 - p) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def measure_world(
    name: str | World, n: int = 100, seed: int = 900_000, *, split: str = "held_out"
) -> dict[str, Share]:
    """Play a world's held-out questions in every way.

    Args:
        name: A world, or its name.
        n: Questions, at least.
        seed: Of the pictures and of all draws.
        split: Which of the disjoint sets.

    Returns:
        `best`, `off`, `blank`, `shuffled` (the best policy under a control) and `random`.
    """
    world = worlds.get(name) if isinstance(name, str) else name
    with tempfile.TemporaryDirectory() as folder:
        path = world.make(Path(folder) / "made", seed=seed, split=split, **world.sized(n))
        tasks = list(load_tasks(path, keep=4 * n))
        return measure_tasks(world, tasks, seed)


def measure_tasks(world: World, tasks: Sequence[Task], seed: int = 0) -> dict[str, Share]:
    """The same for tasks that were read already."""
    toolbox = Toolbox(world.tools)
    found = {"best": share(play_world(world, tasks, world.best, toolbox=toolbox, seed=seed))}
    for control in Without:
        less = take_away(toolbox, control, tasks)
        played = play_world(world, tasks, world.best, toolbox=less, seed=seed)
        found[control.value] = share(played)
    played = play_world(world, tasks, at_random(world), toolbox=toolbox, seed=seed)
    return {**found, "random": share(played)}


def share(played: Sequence[Played]) -> Share:
    """Right ones and calls."""
    calls = sum(p.calls for p in played) / len(played)
    return Share(sum(p.right for p in played), len(played), calls)


def at_random(world: World) -> Program:
    """A policy that knows the wire form and nothing else: any tool, anywhere, then a guess."""

    def play(look: Look) -> Generator[Use, Seen, str]:
        rng = look.rng
        for _ in range(int(rng.integers(0, world.limits.max_turns))):
            spec = look.specs[int(rng.integers(len(look.specs)))] if look.specs else None
            if spec is not None:
                yield _any_call(spec, len(look.pictures), rng)
        return world.guess(look.words, rng)

    return play


def _any_call(spec: ToolSpec, pictures: int, rng: np.random.Generator) -> Use:
    values = {p.name: _any(p, pictures, rng) for p in spec.params if p.required}
    return Use(spec.name, "", **values)


def _any(param: Param, pictures: int, rng: np.random.Generator) -> Json:
    """Any value of the kind that an argument wants."""
    low, high = sorted(int(v) for v in rng.choice(1001, 2, replace=False))
    if param.choices:
        return str(rng.choice(list(param.choices)))
    match param.kind:
        case Kind.IMAGE:
            return int(rng.integers(1, max(1, pictures) + 1))
        case Kind.BOX:
            x1, x2 = sorted(int(v) for v in rng.choice(1001, 2, replace=False))
            return [x1, low, x2, high]
        case Kind.POINT:
            return [low, high]
        case Kind.POINTS:
            return [[int(rng.integers(1001)), int(rng.integers(1001))], [low, high]]
        case Kind.SPAN:
            return [low / 10, high / 10]
        case Kind.DEPTH | Kind.MASK:
            return f"${param.kind.value}_1"
        case Kind.VIDEO:
            return "$video_1"
        case Kind.STRINGS:
            return ["ring"]
        case Kind.INTEGER | Kind.NUMBER:
            return int(rng.integers(1, 91))
        case _:
            return "any"
