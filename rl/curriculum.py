"""Curricula: which tasks come when, and in what dress.

A picker says which tasks come next; there is one a run. A dresser changes a task before it is
asked: with demonstrations, with fewer tools, under a budget; there may be several. Both know the
step. What a picker learns from how attempts went is remembered in checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from vtool.data_rows import Row
from vtool.registry import Registry
from vtool.reward import Score
from vtool.task import Task

from .sampler import Sampler


@dataclass(frozen=True, slots=True)
class CurriculumSpec:
    """One part of a curriculum.

    Args:
        name: stage, difficulty, demo_anneal or tool_stage.
        options: Of that part.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Picker(Protocol):
    """Says which tasks come next."""

    cursor: int
    """Tasks drawn so far."""

    def begin(self, step: int) -> None:
        """A step begins."""
        ...

    def draw(self, number: int) -> list[int]:
        """The next tasks, by index."""
        ...

    def learn(self, task_id: str, scores: Sequence[Score]) -> None:
        """How the attempts of a group went."""
        ...


Dresser = Callable[[Task, int], Task]
"""The task as it is asked in a step: a pure function of both."""


class InOrder(Sampler):
    """The plain picker: each task once an epoch, whatever became of it."""

    def begin(self, step: int) -> None:
        """Nothing changes."""

    def learn(self, task_id: str, scores: Sequence[Score]) -> None:
        """Nothing is learnt."""


pickers: Registry[Callable[..., Picker]] = Registry(
    "curriculum", load=lambda: import_module("vtool.rl.curriculum_pick")
)
"""Makers of pickers, called as `maker(rows, seed, **options)`."""

dressers: Registry[Callable[..., Dresser]] = Registry(
    "curriculum",
    load=lambda: [import_module(f"vtool.rl.{m}") for m in ("curriculum_dress", "tool_names")],
)
"""Makers of dressers, called as `maker(seed, **options)`."""


def picker(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a maker of pickers under a name; it is returned unchanged."""
    return lambda maker: pickers.add(name, maker)


def dresser(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a maker of dressers under a name; it is returned unchanged."""
    return lambda maker: dressers.add(name, maker)


@dataclass(frozen=True, slots=True)
class Curriculum:
    """A picker and dressers.

    Args:
        picker: Which tasks come next.
        dressers: In what dress, in the order in which they are put on.
    """

    picker: Picker
    dressers: tuple[Dresser, ...] = ()

    def dress(self, task: Task, step: int) -> Task:
        """The task as it is asked in a step."""
        for put_on in self.dressers:
            task = put_on(task, step)
        return task


def make_curriculum(specs: Sequence[CurriculumSpec], rows: Sequence[Row], seed: int) -> Curriculum:
    """Pickers and dressers by name.

    Args:
        specs: Parts; `recipe_check` has seen to it that at most one of them picks.
        rows: The task file's.
        seed: Of everything that is drawn.

    Raises:
        UnknownName: Nothing is called that.
    """
    chosen: Picker | None = None
    worn: list[Dresser] = []
    for spec in specs:
        if spec.name in pickers:
            chosen = pickers.get(spec.name)(rows, seed, **spec.options)
        else:
            worn.append(dressers.get(spec.name)(seed, **spec.options))
    return Curriculum(chosen or InOrder(len(rows), seed), tuple(worn))
