"""R8, checklists and rubrics: criteria that a judge answers, each counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtool.errors import DataError
from vtool.judge import MAX_ANSWER, Case, JudgeDown, judges
from vtool.message import Action
from vtool.record import Episode
from vtool.reward import Site, Unscored, reward
from vtool.task import Task

from .answer import said


@dataclass(frozen=True, slots=True)
class Item:
    """One criterion.

    Args:
        id: Its name.
        ask: What the judge is asked, answered by yes or no.
        weight: What it is worth.
        required: Later turns count only once it is met.
        after: Items that must be met before it, or in the same turn.
    """

    id: str
    ask: str
    weight: float = 1.0
    required: bool = False
    after: tuple[str, ...] = ()


@reward("checklist", site=Site.TURN)
def checklist(
    episode: Episode, task: Task, *, judge: str = "llm"
) -> Sequence[float] | Unscored | None:
    """Weights of the items that each turn meets first; the items stand in the tag `checklist`.

    Source: CM2. Trap: an item counts once; where the judge is down the episode is unscored, and
    no turn is a silent 0.
    """
    items = read_items(task.tags.get("checklist"))
    if not items:
        return None
    decide = judges.get(judge)
    try:
        met = [
            {i.id for i in items if decide(Case("", (), _shown(a), i.ask)) > 0.5}
            for a in episode.actions()
        ]
    except JudgeDown as down:
        return Unscored(f"judge {judge}: {down}")
    return checklist_scores(items, met)


@reward("judge")
def judged(
    episode: Episode, task: Task, *, criterion: str = "", judge: str = "llm"
) -> float | Unscored:
    """How far the final answer meets one criterion, in [0, 1].

    Source: VideoChat-M1's R_col (a judge on the trace), CRAFT-GUI's judge for understanding.
    Trap: 0 without an answer, or for one too long to be shown.
    """
    given = said(episode)
    if given is None or len(given) > MAX_ANSWER:
        return 0.0
    question = "".join(p for p in task.prompt if isinstance(p, str))
    accepted = getattr(task.reference, "texts", ())
    try:
        return judges.get(judge)(Case(question, accepted, given, criterion or None))
    except JudgeDown as down:
        return Unscored(f"judge {judge}: {down}")


def checklist_scores(items: Sequence[Item], met: Sequence[set[str]]) -> list[float]:
    """What each turn earns: the weights of items met first there.

    An item whose `after` is not met yet waits; a turn that leaves a required item open ends the
    counting.

    Source: CM2: weights .5, .3, .2, turn 1 meets a, turn 2 a and c: .5 and .2.
    """
    done: set[str] = set()
    out: list[float] = []
    for turn in met:
        if out and any(i.required and i.id not in done for i in items):
            out.append(0.0)
            continue
        fresh: set[str] = set()
        for item in _in_order(items):
            if item.id in turn and item.id not in done and set(item.after) <= done | fresh:
                fresh.add(item.id)
        out.append(sum(i.weight for i in items if i.id in fresh))
        done |= fresh
    return out


def read_items(raw: Any) -> list[Item]:
    """Items of a task's tag.

    Raises:
        DataError: It is no list of objects with `id` and `ask`.
    """
    rows = raw if raw is not None else []
    known = {"id", "ask", "weight", "required", "after"}
    if not isinstance(rows, list) or not all(
        isinstance(r, Mapping) and {"id", "ask"} <= set(r) <= known for r in rows
    ):
        raise DataError(f"a checklist is a list of objects with {', '.join(sorted(known))}: {raw}")
    return [Item(**{**r, "after": tuple(r.get("after", ()))}) for r in rows]


def _in_order(items: Sequence[Item]) -> list[Item]:
    """Items after those that they wait for, where that can be."""
    left, out = list(items), list[Item]()
    while left:
        names = {i.id for i in left}
        ready = [i for i in left if not set(i.after) & (names - {i.id})] or left[:1]
        out += ready
        left = [i for i in left if i not in ready]
    return out


def _shown(action: Action) -> str:
    return action.text[:MAX_ANSWER]
