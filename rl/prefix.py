"""Reset from a prefix: groups that begin in the middle of a stored attempt.

What comes before is given: it stands in the context, with the log-probs that it had, and nobody
learns from it. All attempts of a group begin at the same point, so that they can be compared.

Source: SkillMimic-V2 (stored trajectories restarted from their states), in the form of prefixes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtool.errors import RecipeError
from vtool.programs.chance import chance
from vtool.programs.restart import restart
from vtool.record import Episode, Fold, Group
from vtool.reward import Unscored
from vtool.task import Task
from vtool.trace import read_trace

from .rollout_sampler import Scene, sampler


@dataclass(frozen=True, slots=True)
class PrefixSettings:
    """From what a group begins.

    Args:
        trace: Folder of attempts at tasks of this run, with turns of the same tools.
        share: Of the groups whose task is in it; the others begin at the beginning.
        least: Only attempts that scored so much are begun from; None for all.
        turn: The first turn that is played anew; -1 for the last of the stored attempt, None
            for one drawn at random. Turn 0 is the beginning, and never drawn.
    """

    trace: str = ""
    share: float = 1.0
    least: float | None = None
    turn: int | None = None

    def __post_init__(self) -> None:
        if not self.trace or not 0 <= self.share <= 1:
            raise RecipeError(
                "the sampler prefix needs trace=FOLDER with attempts to begin from, and a share "
                f"in [0, 1]; got {self.trace!r}, {self.share}"
            )


@sampler("prefix", PrefixSettings)
@dataclass(slots=True)
class Prefix:
    """A sampler that restarts from stored attempts.

    Args:
        settings: From what.
    """

    settings: PrefixSettings
    waiting: int = field(default=0, init=False)
    _past: dict[str, list[Episode]] | None = field(default=None, init=False)

    async def play(
        self, tasks: Sequence[Task], key: tuple[int, ...], scene: Scene
    ) -> list[tuple[Task, Group]]:
        """Every attempt is a job of its own."""
        points = [self._point(task, (*key, i)) for i, task in enumerate(tasks)]

        def job(number: int, attempt: int) -> Callable[[], Awaitable[Episode]]:
            task, own = tasks[number], (*key, number, attempt)
            point = points[number]
            if point is None:
                return lambda: scene.attempt(task, attempt, own)
            return lambda: _restarted(scene, task, attempt, own, point)

        size = scene.size
        episodes = await scene.run([job(i, a) for i in range(len(tasks)) for a in range(size)])
        return [
            (task, Group(task.id, tuple(episodes[i * size : (i + 1) * size])))
            for i, task in enumerate(tasks)
        ]

    def _point(self, task: Task, key: tuple[int, ...]) -> tuple[Episode, int] | None:
        """The attempt and turn from which a group begins; None for the beginning."""
        found = self._stored().get(task.id, [])
        draw = chance("prefix", key)
        if not found or draw.random() >= self.settings.share:
            return None
        past = found[int(draw.integers(len(found)))]
        turns = len(past.actions())
        if self.settings.turn is None:
            return past, int(draw.integers(1, turns))
        return past, turns - 1 if self.settings.turn < 0 else min(self.settings.turn, turns - 1)

    def _stored(self) -> dict[str, list[Episode]]:
        """Attempts of at least two turns, by task; read once."""
        if self._past is None:
            self._past = {}
            for record in read_trace(Path(self.settings.trace)):
                total = None if record.score is None else record.score.total
                good = self.settings.least is None or (
                    total is not None
                    and not isinstance(total, Unscored)
                    and total >= self.settings.least
                )
                if good and _fits(record.episode):
                    self._past.setdefault(record.task_id, []).append(record.episode)
        return self._past


def _fits(episode: Episode) -> bool:
    folded = any(isinstance(c.edge, Fold) for c in episode.contexts)
    return not episode.stop.ours and not folded and len(episode.actions()) > 1


async def _restarted(
    scene: Scene, task: Task, attempt: int, key: tuple[int, ...], point: tuple[Episode, int]
) -> Episode:
    env = scene.make_env(task, attempt)
    try:
        return await restart(point[0], env, scene.seats, turn=point[1], key=key)
    finally:
        await env.close()
