"""R2, the format: could every turn be read, and does the last one say what was asked for?"""

from __future__ import annotations

from collections.abc import Sequence

from vtool.record import Episode, StopReason
from vtool.reward import Site, reward
from vtool.task import Task


@reward("format")
def well_formed(episode: Episode, task: Task) -> float:
    """1 if every turn could be read, every call was run, and the last turn answered as asked.

    Source: the format gate of AdaReasoner and of PORTool's bounded term.
    Trap: a refused call (a bad box, an unknown picture) is malformed too; use `turn_format` where
    the policy may try again for free.
    """
    clean = all(not action.faults for action in episode.actions())
    ran = all(outcome.fault is None for outcome in episode.outcomes())
    return float(clean and ran and answered_as_asked(episode))


@reward("format_penalty")
def format_penalty(episode: Episode, task: Task, *, longest: int = 1000) -> float:
    """0 if well formed, -1 if not or if the answer has `longest` characters or more.

    Source: DeepEyes (fmt in {0, -1}; answers of 1000 characters or more are format errors).
    Trap: as an additive term it does not close anything: a wrong, well-formed answer gets 0.
    """
    return -1.0 if too_long(episode, longest) else well_formed(episode, task) - 1.0


@reward("format_short")
def format_short(episode: Episode, task: Task, *, longest: int = 300) -> float:
    """1 if well formed and shorter than `longest` characters, else 0.

    Source: DeepEyesV2 (fmt in {0, 1}; answers of 300 characters or more are rejected).
    """
    return 0.0 if too_long(episode, longest) else well_formed(episode, task)


@reward("format_strict")
def format_strict(episode: Episode, task: Task) -> float:
    """1 if each turn reasons and then does exactly one thing: a call or, at the end, an answer.

    Source: Ophiuchus, S_fmt. Trap: a turn with two parallel calls fails it.
    """
    turns = episode.actions()
    one_deed = all(len(a.calls) + (a.answer is not None) == 1 for a in turns)
    reasoned = all(a.thought.strip() for a in turns)
    clean = all(not a.faults for a in turns)
    return float(clean and reasoned and one_deed and answered_as_asked(episode))


@reward("format_mean")
def format_mean(episode: Episode, task: Task) -> float:
    """Share of the turns that could be read.

    Source: OpenThinkIMG / V-ToolRL, the turn mean: three turns, one unreadable, is 2/3.
    """
    marks = turn_format(episode, task)
    return sum(marks) / len(marks) if marks else 0.0


@reward("format_deductions")
def format_deductions(episode: Episode, task: Task, *, each: float = 0.2) -> float:
    """1 less `each` for every fault and for a missing answer, at least 0.

    Source: ICRL (deductions with a floor of 0; the size of one is not published, .2 is ours).
    """
    faults = sum(len(a.faults) for a in episode.actions())
    faults += sum(o.fault is not None and o.call is not None for o in episode.outcomes())
    return max(0.0, 1.0 - each * (faults + (not answered_as_asked(episode))))


@reward("turn_format", site=Site.TURN)
def turn_format(episode: Episode, task: Task) -> Sequence[float]:
    """1 for each turn that could be read.

    Source: the turn-mean format reward of OpenThinkIMG / V-ToolRL.
    """
    return [float(not action.faults) for action in episode.actions()]


def answered_as_asked(episode: Episode) -> bool:
    """Whether it ended with an answer of the kind that the task asks for."""
    told = episode.reading
    return episode.stop is StopReason.ANSWERED and (told is None or told.fault is None)


def too_long(episode: Episode, longest: int) -> bool:
    """Whether the answer has `longest` characters or more."""
    return episode.answer is not None and len(episode.answer) >= longest
