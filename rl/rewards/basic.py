"""The parts that every visual question answering recipe needs: format, answer, economy."""

from __future__ import annotations

from collections.abc import Sequence

from vtool.metrics import exact_match
from vtool.record import Episode, StopReason
from vtool.reward import Site, reward
from vtool.task import Answer, Task


@reward("format")
def well_formed(episode: Episode, task: Task) -> float:
    """1 if every turn could be read, every call was run, and the last turn answered."""
    clean = all(not action.faults for action in episode.actions())
    ran = all(outcome.fault is None for outcome in episode.outcomes())
    return float(clean and ran and episode.stop is StopReason.ANSWERED)


@reward("answer")
def answer(episode: Episode, task: Task) -> float:
    """1 if the answer is one of those accepted.

    Only the answer of the final turn counts; what tools said is never read.
    """
    if not isinstance(task.reference, Answer) or episode.stop is not StopReason.ANSWERED:
        return 0.0
    return exact_match(episode.answer, task.reference.texts)


@reward("economy")
def economy(episode: Episode, task: Task) -> float:
    """1 with no more calls than the task has places to look at, less with each further one.

    `1 / (1 + excess)`; a task without evidence needs none, so that a call costs there.
    """
    calls = sum(len(action.calls) for action in episode.actions())
    return 1.0 / (1 + max(0, calls - len(task.evidence)))


@reward("turn_format", site=Site.TURN)
def turn_format(episode: Episode, task: Task) -> Sequence[float]:
    """1 for each turn that could be read.

    Source: the turn-mean format reward of OpenThinkIMG / V-ToolRL.
    """
    return [float(not action.faults) for action in episode.actions()]
