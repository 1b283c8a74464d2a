"""R9, calibration: is the confidence that the policy states worth believing?

The confidence is read by the dialect (`Reading.confidence`); without one a right answer counts as
q = 0 and a wrong one as q = 1, so that silence never pays.
"""

from __future__ import annotations

import math

from vtool.record import Episode
from vtool.reward import Unscored, parts, reward
from vtool.task import Task

from .cost import is_right


@reward("calibration")
def calibration(
    episode: Episode,
    task: Task,
    *,
    outcome: str = "answer",
    right: float = 1.0,
    wrong: float = 1.0,
) -> float | Unscored:
    """Y (1 + b1 (1 - (1 - q)^2)) - (1 - y) b2 q^2: right answers always beat wrong ones.

    Source: CAR / MSCR separates the two cases by a margin; its constants were not recovered, this
    form is the proposal of our notes with b1 = `right`, b2 = `wrong`. Trap: honest (q* = p) only
    for b1 = b2.
    """
    found = _outcome(episode, task, outcome)
    return found if isinstance(found, Unscored) else car(*found, right, wrong)


@reward("rlcr")
def rlcr(episode: Episode, task: Task, *, outcome: str = "answer") -> float | Unscored:
    """Y - (q - y)^2.

    Source: RLCR. Trap: right at q = 0 and wrong at q = 0 are both 0.
    """
    found = _outcome(episode, task, outcome)
    return found if isinstance(found, Unscored) else found[0] - (found[1] - found[0]) ** 2


@reward("brier")
def brier(episode: Episode, task: Task, *, outcome: str = "answer") -> float | Unscored:
    """1 - (q - y)^2, in [0, 1].

    Source: the Brier score, turned so that more is better. Trap: a policy that is surely wrong
    (q = 0) gets as much as one that is surely right: never use it without an outcome beside it.
    """
    found = _outcome(episode, task, outcome)
    return found if isinstance(found, Unscored) else 1.0 - (found[1] - found[0]) ** 2


@reward("log_score")
def log_score(
    episode: Episode, task: Task, *, outcome: str = "answer", floor: float = 0.01
) -> float | Unscored:
    """Ln q if right, ln (1 - q) if wrong, with q kept `floor` away from 0 and 1.

    Source: the logarithmic scoring rule.
    """
    found = _outcome(episode, task, outcome)
    if isinstance(found, Unscored):
        return found
    y, q = found
    kept = min(1 - floor, max(floor, q))
    return math.log(kept if y else 1 - kept)


def car(y: float, q: float, right: float = 1.0, wrong: float = 1.0) -> float:
    """Y (1 + b1 (1 - (1 - q)^2)) - (1 - y) b2 q^2."""
    return y * (1 + right * (1 - (1 - q) ** 2)) - (1 - y) * wrong * q**2


def _outcome(episode: Episode, task: Task, outcome: str) -> tuple[float, float] | Unscored:
    """Right or not, and the confidence stated."""
    mark = parts.get(outcome).fn(episode, task)
    if isinstance(mark, Unscored):
        return mark
    y = float(is_right(mark))
    told = None if episode.reading is None else episode.reading.confidence
    return y, (1.0 - y if told is None else told)
