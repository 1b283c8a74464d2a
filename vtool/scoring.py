"""Scoring: reward parts over a group of episodes, then the combine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vtool.errors import VToolError
from vtool.record import Episode
from vtool.reward import Combine, Marks, RewardPart, Scope, Score, Site, Unscored
from vtool.task import Task

FAILED = "the episode failed through no fault of the policy"


def score_group(
    episodes: Sequence[Episode],
    task: Task,
    judges: Sequence[RewardPart],
    combine: Combine,
    *,
    step: int = 0,
) -> list[Score]:
    """Score attempts at one task.

    Episodes that failed by our fault are `Unscored`, and group parts do not see them. A part
    that gives NaN or infinity makes its episode `Unscored`.

    Args:
        episodes: The attempts.
        task: What was attempted.
        judges: Attempt and group parts.
        combine: Turns an episode's parts into its score.
        step: Of training, for parts that follow a schedule.

    Raises:
        VToolError: An episode of another task, or a part that gives marks of the wrong count.
    """
    for episode in episodes:
        if episode.task_id != task.id:
            raise VToolError(f"an episode of task {episode.task_id!r} scored against {task.id!r}")
    alive = [e for e in episodes if not e.stop.ours]
    rows = iter(_marks(alive, task, judges, step))
    scores = []
    for episode in episodes:
        if episode.stop.ours:
            scores.append(Score({}, Unscored(episode.error or FAILED)))
        else:
            scores.append(combine(next(rows)))
    return scores


class TooManyUnscored(VToolError, RuntimeError):
    """Parts keep giving no number; the first reason is told."""


def check_unscored(scores: Sequence[Score], most: float) -> None:
    """A few episodes without a score are masked; a run that cannot score must not go on.

    Args:
        scores: Of a step; episodes that failed by our fault are not counted here.
        most: Share of the others that may be unscored.

    Raises:
        TooManyUnscored: More are.
    """
    judged = [s for s in scores if s.parts]
    lost = [s.total for s in judged if isinstance(s.total, Unscored)]
    if len(lost) > most * len(judged):
        raise TooManyUnscored(
            f"{len(lost)} of {len(judged)} episodes could not be scored; the first: "
            f"{lost[0].reason}. A judge may be down, or a part gives NaN or infinity"
        )


def _marks(
    alive: Sequence[Episode], task: Task, judges: Sequence[RewardPart], step: int
) -> list[dict[str, Marks]]:
    rows: list[dict[str, Marks]] = [{} for _ in alive]
    for part in judges:
        if part.scope is Scope.BATCH:
            raise VToolError(f"part {part.name!r} judges batches; score_group sees one group")
        judge = part.at(step)
        if part.scope is Scope.GROUP:
            column = list(judge(alive, task)) if alive else []
            if len(column) != len(alive):
                raise VToolError(
                    f"part {part.name!r} gave {len(column)} marks for {len(alive)} episodes"
                )
        else:
            column = [judge(e, task) for e in alive]
        for row, episode, marks in zip(rows, alive, column, strict=True):
            row[part.name] = checked(part, episode, marks)
    return rows


def checked(part: RewardPart, episode: Episode, marks: Marks) -> Marks:
    """Marks as they may be used: finite, and one per turn where turns are judged."""
    if marks is None or isinstance(marks, Unscored):
        return marks
    if isinstance(marks, Sequence):
        if part.site is Site.TURN and len(marks) != len(episode.actions()):
            raise VToolError(
                f"part {part.name!r} gave {len(marks)} marks for {len(episode.actions())} turns"
            )
        values: list[float] = [float(m) for m in marks]
        return values if all(map(math.isfinite, values)) else Unscored("a mark is not finite")
    return float(marks) if math.isfinite(marks) else Unscored("the mark is not finite")
