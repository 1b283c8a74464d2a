"""Play a world with a scripted policy, through its file, its toolbox and `play` of the house."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from vtool.environment import ToolEnvironment
from vtool.pairs import render_pair
from vtool.programs.solo import play
from vtool.record import Episode, StopReason
from vtool.seat import Seat
from vtool.task import Task
from vtool.toolbox import Toolbox

from .program import Program, ProgramEngine
from .world import World


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What became of one task."""

    task: Task
    episode: Episode
    right: bool

    @property
    def calls(self) -> int:
        """Calls that were made."""
        return sum(len(a.calls) for a in self.episode.actions())


def play_world(
    world: World,
    tasks: Sequence[Task],
    program: Program,
    *,
    toolbox: Toolbox | None = None,
    seed: int = 0,
) -> list[Played]:
    """Play every task once.

    Args:
        world: Its tools, limits and rule of being right.
        tasks: Read from its file.
        program: Who plays.
        toolbox: Other tools than the world's, for controls.
        seed: Of the tools' and the program's draws.

    Raises:
        RuntimeError: Something of ours broke: that is no wrong answer.
    """
    return asyncio.run(_play_all(world, tasks, program, toolbox or Toolbox(world.tools), seed))


async def _play_all(
    world: World, tasks: Sequence[Task], program: Program, toolbox: Toolbox, seed: int
) -> list[Played]:
    renderer = render_pair("plain", "hermes", announce=False)
    out = []
    for number, task in enumerate(tasks):
        key = seed * 1_000_003 + number
        env = ToolEnvironment(task, toolbox, world.limits, key)
        seat = Seat("policy", renderer, ProgramEngine(program, key))
        try:
            episode = await play(env, {"policy": seat}, key=(seed, number))
        finally:
            await env.close()
        if episode.stop is StopReason.FAILED:
            raise RuntimeError(f"task {task.id} of world {world.name}: {episode.error}")
        out.append(Played(task, episode, world.right(task, episode)))
    return out
