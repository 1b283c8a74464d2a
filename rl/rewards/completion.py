"""R7, completion: how many of several goals were solved, and with how many calls.

Goals are what the environment says it counts (verdicts `solved` and `goals`), else the task's
pieces of evidence: one is solved when a look covers half of it. Each counts once.
"""

from __future__ import annotations

from vtool.evidence import on_source
from vtool.geometry import Box, Region, coverage
from vtool.message import Action
from vtool.metrics import exact_match
from vtool.record import Episode
from vtool.reward import Site, reward
from vtool.task import Answer, Task

from .cost import count_calls

COVERED = 0.5


@reward("completion_f1")
def completion_f1(episode: Episode, task: Task) -> float | None:
    """F1 of recall solved / goals and precision solved / calls.

    Source: ASTRA, 2 p r / (p + r), p = solved / calls (formula from memory, not re-read). Two of
    four with three calls is .5714.
    """
    counted = goals(episode, task)
    return None if counted is None else f1_of_goals(*counted, count_calls(episode))


@reward("completion_ftrl")
def completion_ftrl(episode: Episode, task: Task) -> float | None:
    """2 * solved / (calls + 1), for an episode that calls.

    Source: FTRL's training code. Trap: its evaluation divides by calls + goals
    (`completion_ftrl_eval`).
    """
    counted = goals(episode, task)
    return None if counted is None else ftrl_train(counted[0], count_calls(episode))


@reward("completion_ftrl_eval")
def completion_ftrl_eval(episode: Episode, task: Task) -> float | None:
    """2 * solved / (calls + goals): the F1 of the whole attempt.

    Source: FTRL's evaluation, "unsolved" counted before the attempt: two of four with three calls
    is 4/7. It is the same number as `completion_f1`.
    """
    counted = goals(episode, task)
    return None if counted is None else ftrl_eval(*counted, count_calls(episode))


def f1_of_goals(solved: int, count: int, calls: int) -> float:
    """2 p r / (p + r) with r = solved / count and p = solved / calls. Source: ASTRA."""
    return 2 * solved / (count + calls) if solved else 0.0


def ftrl_train(solved: int, calls: int) -> float:
    """2 solved / (calls + 1). Source: FTRL, training."""
    return 2 * solved / (calls + 1)


def ftrl_eval(solved: int, count: int, calls: int) -> float:
    """2 solved / (calls + goals). Source: FTRL, evaluation."""
    return 2 * solved / (calls + count) if solved else 0.0


def goals(episode: Episode, task: Task) -> tuple[int, int] | None:
    """Goals solved, and goals there are; None where there are none."""
    solved, count = episode.verdicts.get("solved"), episode.verdicts.get("goals")
    if isinstance(solved, int) and isinstance(count, int):
        return solved, count
    places = [e for e in task.evidence if isinstance(e.shape, Box)]
    if not places:
        return None
    roots = [e.handle for e in episode.final.store.images() if e.origin.parent is None]
    looks = looked_at(episode)
    seen = [_covered(Region(roots[p.image], p.shape), looks) for p in places]
    return sum(seen), len(places)


def looked_at(episode: Episode) -> list[Region]:
    """Every place that a tool's picture shows, on the user's pictures."""
    store = episode.final.store
    found = [on_source(store, h) for o in episode.outcomes() for h in o.handles]
    return [r for r in found if r is not None and isinstance(r.shape, Box)]


def _covered(wanted: Region, looks: list[Region]) -> bool:
    assert isinstance(wanted.shape, Box)
    return any(
        look.media == wanted.media
        and isinstance(look.shape, Box)
        and coverage(wanted.shape, look.shape) >= COVERED
        for look in looks
    )


@reward("completion_steps", site=Site.TURN)
def completion_steps(episode: Episode, task: Task) -> list[float] | None:
    """Each turn's own reward: 2 * newly solved / (calls + 1), or what its words are worth.

    Without calls: -.5 if empty, -.3 if it could not be read, 1 / (1 + unsolved) if it gives an
    accepted answer, .5 if everything is solved, else 0.

    Source: FTRL's step reward. Trap: a goal is gone once solved, so that looking again earns 0.
    """
    places = [e for e in task.evidence if isinstance(e.shape, Box)]
    if not places:
        return None
    roots = [e.handle for e in episode.final.store.images() if e.origin.parent is None]
    open_goals = [Region(roots[p.image], p.shape) for p in places]
    out: list[float] = []
    for action, looks in turns_and_looks(episode):
        solved = [g for g in open_goals if _covered(g, looks)]
        open_goals = [g for g in open_goals if g not in solved]
        out.append(
            ftrl_train(len(solved), len(action.calls))
            if action.calls
            else _words(action, task, len(open_goals))
        )
    return out


def turns_and_looks(episode: Episode) -> list[tuple[Action, list[Region]]]:
    """Each assistant turn with the places that its calls showed."""
    store = episode.final.store
    out: list[tuple[Action, list[Region]]] = []
    for message in episode.path_messages():
        if message.action is not None:
            out.append((message.action, []))
        for handle in (h for o in message.outcomes for h in o.handles):
            place = on_source(store, handle)
            if place is not None and out:
                out[-1][1].append(place)
    return out


def _words(action: Action, task: Task, unsolved: int) -> float:
    if action.faults:
        return -0.3
    if not action.text.strip():
        return -0.5
    texts = task.reference.texts if isinstance(task.reference, Answer) else ()
    if exact_match(action.answer, texts):
        return 1.0 / (1 + unsolved)
    return 0.5 if unsolved == 0 else 0.0
