"""Who goes on from where: how the attempts of a group come to be, by name.

Every sampler gives exactly as many attempts as were asked for. Those that share a past share a
record, and their `Fork` edges say where they parted; so whatever reads attempts reads them alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from vtool.config import build
from vtool.environment import Environment
from vtool.programs.entropy_branch import BranchSettings, entropy_branch
from vtool.programs.solo import play
from vtool.programs.tree import TreeSettings, tree
from vtool.record import Episode, Group
from vtool.registry import Registry
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.task import Task


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """Which sampler.

    Args:
        name: flat, entropy_branch, tree, partial or prefix.
        options: Of the sampler.
    """

    name: str = "flat"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """What all attempts of a step share.

    Args:
        seats: Who plays, by name.
        make_env: A fresh environment of a task and an attempt's seed.
        size: Attempts a task.
        concurrency: Jobs at once; 0 for all.
        vocab: Size of the policy's vocabulary; 0 where nobody knows.
        step: Number of the step, which is the version of its weights.
    """

    seats: Mapping[str, Seat]
    make_env: Callable[[Task, int], Environment]
    size: int
    concurrency: int = 0
    vocab: int = 0
    step: int = 0

    async def run(self, jobs: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """Run jobs on the engine that the seats share."""
        engine = next(iter(self.seats.values())).engine
        return await run_all(jobs, engine=engine, concurrency=self.concurrency)

    async def attempt(self, task: Task, attempt: int, key: tuple[int, ...]) -> Episode:
        """One attempt, alone."""
        env = self.make_env(task, attempt)
        try:
            return await play(env, self.seats, key=key)
        finally:
            await env.close()


class RolloutSampler(Protocol):
    """Plays groups of attempts."""

    @property
    def waiting(self) -> int:
        """Groups that are under way since an earlier step: so many fewer tasks are drawn."""
        ...

    async def play(
        self, tasks: Sequence[Task], key: tuple[int, ...], scene: Scene
    ) -> list[tuple[Task, Group]]:
        """Play attempts at tasks.

        Args:
            tasks: Fresh ones.
            key: Seeds all draws of this call.
            scene: Who plays what, and how often.

        Returns:
            Tasks with their groups, each of exactly `scene.size` attempts, fresh tasks in order.
            A sampler that lets groups wait may give back others than it got.
        """
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """A sampler as it is registered: its settings and what is made of them."""

    settings: type
    make: Callable[[Any], RolloutSampler]


samplers: Registry[Named] = Registry("sampler", load=lambda: import_module("vtool.rl.samplers"))
"""Samplers by name; a recipe's options are the settings' fields."""


def sampler(name: str, settings: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a maker of samplers under a name; it is returned unchanged.

    Args:
        name: For recipes.
        settings: A dataclass; the maker is called with one.
    """

    def keep(maker: Callable[..., Any]) -> Callable[..., Any]:
        samplers.add(name, Named(settings, maker))
        return maker

    return keep


def make_sampler(spec: SamplerSpec) -> RolloutSampler:
    """A sampler by name.

    Raises:
        UnknownName: Names the nearest.
        RecipeError: Options that the sampler does not have, or that make none.
    """
    entry = samplers.get(spec.name)
    return entry.make(build(entry.settings, spec.options, f"sampler {spec.name}"))


@dataclass(frozen=True, slots=True)
class FlatSettings:
    """There is nothing to set."""


@sampler("flat", FlatSettings)
@dataclass(slots=True)
class Flat:
    """Attempts that know nothing of each other."""

    settings: FlatSettings = field(default_factory=FlatSettings)
    waiting: int = field(default=0, init=False)

    async def play(
        self, tasks: Sequence[Task], key: tuple[int, ...], scene: Scene
    ) -> list[tuple[Task, Group]]:
        """Every attempt is a job of its own."""

        def job(task: Task, number: int, attempt: int) -> Callable[[], Awaitable[Episode]]:
            return lambda: scene.attempt(task, attempt, (*key, number, attempt))

        size = scene.size
        jobs = [job(t, i, a) for i, t in enumerate(tasks) for a in range(size)]
        episodes = await scene.run(jobs)
        return [
            (task, Group(task.id, tuple(episodes[i * size : (i + 1) * size])))
            for i, task in enumerate(tasks)
        ]


Grow = Callable[[Task, tuple[int, ...], Scene], Awaitable[tuple[Episode, ...]]]
"""Plays all attempts at one task."""


@dataclass(slots=True)
class ByTask:
    """Attempts at one task that belong together: every group is a job."""

    grow: Grow
    waiting: int = field(default=0, init=False)

    async def play(
        self, tasks: Sequence[Task], key: tuple[int, ...], scene: Scene
    ) -> list[tuple[Task, Group]]:
        """Play the groups side by side."""

        def job(task: Task, number: int) -> Callable[[], Awaitable[tuple[Episode, ...]]]:
            return lambda: self.grow(task, (*key, number), scene)

        found = await scene.run([job(t, i) for i, t in enumerate(tasks)])
        return [(t, Group(t.id, tuple(e))) for t, e in zip(tasks, found, strict=True)]


@sampler("entropy_branch", BranchSettings)
def make_entropy_branch(settings: BranchSettings) -> ByTask:
    """Forks after results that made the policy unsure; see `vtool.programs.entropy_branch`."""

    async def grow(task: Task, key: tuple[int, ...], scene: Scene) -> tuple[Episode, ...]:
        return await entropy_branch(
            lambda attempt: scene.make_env(task, attempt),
            scene.seats,
            count=scene.size,
            vocab=scene.vocab,
            settings=settings,
            key=key,
        )

    return ByTask(grow)


@sampler("tree", TreeSettings)
def make_tree(settings: TreeSettings) -> ByTask:
    """Forks at every turn; see `vtool.programs.tree`."""

    async def grow(task: Task, key: tuple[int, ...], scene: Scene) -> tuple[Episode, ...]:
        return await tree(
            lambda attempt: scene.make_env(task, attempt),
            scene.seats,
            count=scene.size,
            settings=settings,
            key=key,
        )

    return ByTask(grow)
