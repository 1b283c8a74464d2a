"""Partial rollouts: an attempt may draw so many tokens a step; the rest is drawn in later steps.

Long attempts hold up no step. A group waits until all of its attempts have ended, at most
`staleness` steps; in the last of them nothing is cut any more, so no token that is learnt from is
older than that. Every token keeps the log-prob and the version of the weights that drew it.

Source: AgentMath, partial rollouts (cut at a quota, resumed in the next iteration with the old
log-probs).

Traps: of the groups under way so many fewer tasks are drawn, or waiting groups would pile up; a
step in which no group ends learns nothing and says so.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtool.errors import RecipeError
from vtool.programs.part import play_part
from vtool.record import Episode, Group, StopReason
from vtool.task import Task

from . import durable
from .memory import Lookup, load_episodes, save_episodes
from .rollout_sampler import Scene, sampler


@dataclass(slots=True)
class Waiting:
    """A group under way.

    Args:
        task: As it was asked.
        step: In which it began.
        key: Of the group; attempt i draws by `(*key, i)`.
        episodes: Its attempts so far; None for one that is to begin.
    """

    task: Task
    step: int
    key: tuple[int, ...]
    episodes: list[Episode | None]

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return all(e is not None and e.stop is not StopReason.SUSPENDED for e in self.episodes)


@dataclass(frozen=True, slots=True)
class PartialSettings:
    """How attempts are cut.

    Args:
        tokens: That an attempt may draw in a step.
        staleness: Steps that a group may take beyond its first.
    """

    tokens: int = 512
    staleness: int = 1

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.staleness < 0:
            raise RecipeError(
                "the sampler partial needs tokens >= 1 and staleness >= 0, got "
                f"{self.tokens}, {self.staleness}"
            )


@sampler("partial", PartialSettings)
@dataclass(slots=True)
class Partial:
    """A sampler that cuts; also a `memory.Memory`.

    Args:
        settings: How.
    """

    settings: PartialSettings = field(default_factory=PartialSettings)
    name: str = field(default="partial", init=False)
    groups: list[Waiting] = field(default_factory=list, init=False)
    last: int = field(default=-1, init=False)
    """The step in which waiting groups were last gone on with."""

    @property
    def waiting(self) -> int:
        """Groups under way."""
        return len(self.groups)

    async def play(
        self, tasks: Sequence[Task], key: tuple[int, ...], scene: Scene
    ) -> list[tuple[Task, Group]]:
        """Go on with what waits, begin what is new, and give what has ended."""
        due = self.groups if scene.step != self.last else []
        fresh = [
            Waiting(task, scene.step, (*key, i), [None] * scene.size)
            for i, task in enumerate(tasks)
        ]
        self.last = scene.step
        self.groups = [*self.groups, *fresh]
        await scene.run([job for group in (*due, *fresh) for job in self._jobs(group, scene)])
        ended = [g for g in self.groups if g.done]
        self.groups = [g for g in self.groups if not g.done]
        return [
            (g.task, Group(g.task.id, tuple(e for e in g.episodes if e is not None))) for g in ended
        ]

    def _jobs(self, group: Waiting, scene: Scene) -> list[Callable[[], Awaitable[None]]]:
        late = scene.step - group.step >= self.settings.staleness
        tokens = None if late else self.settings.tokens

        def job(attempt: int) -> Callable[[], Awaitable[None]]:
            async def go() -> None:
                env = scene.make_env(group.task, attempt)
                try:
                    group.episodes[attempt] = await play_part(
                        env,
                        scene.seats,
                        key=(*group.key, attempt),
                        tokens=tokens,
                        episode=group.episodes[attempt],
                    )
                finally:
                    await env.close()

            return go

        return [
            job(i)
            for i, e in enumerate(group.episodes)
            if e is None or e.stop is StopReason.SUSPENDED
        ]

    def save(self, folder: Path) -> None:
        """Write the groups under way: their attempts as a trace, the rest as JSON."""
        rows = ((e, None, {}) for g in self.groups for e in g.episodes if e is not None)
        save_episodes(folder / "trace", rows)
        body = [
            {"task": g.task.id, "step": g.step, "key": list(g.key), "attempts": len(g.episodes)}
            for g in self.groups
        ]
        durable.write_json(folder / "groups.json", {"groups": body, "last": self.last})

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Read them back."""
        body = json.loads((folder / "groups.json").read_text(encoding="utf-8"))
        episodes = iter([r.episode for r in load_episodes(folder / "trace")])
        self.last = int(body["last"])
        self.groups = [
            Waiting(
                lookup(str(g["task"]), int(g["step"])),
                int(g["step"]),
                tuple(int(k) for k in g["key"]),
                [next(episodes) for _ in range(int(g["attempts"]))],
            )
            for g in body["groups"]
        ]
