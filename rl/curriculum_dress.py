"""Dressers: demonstrations that become fewer, tools that become more, budgets that are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtool.errors import DataError, RecipeError
from vtool.media import Image
from vtool.message import Role, Show, Text
from vtool.programs.budget import Budget
from vtool.programs.chance import chance
from vtool.record import Episode
from vtool.reward import Unscored
from vtool.task import Answer, Boxes, Points, Spans, Task, TaskPart
from vtool.trace import read_trace

from .curriculum import Dresser, dresser
from .replay import task_number

BUDGET = "budget"
"""Tag of a task that holds what an attempt at it may use."""


def value_at(steps: Mapping[int, object], step: int, what: str) -> object:
    """What holds in a step.

    Args:
        steps: Value by the first step at which it holds.
        step: Counted from 0.
        what: For the message.

    Raises:
        RecipeError: Nothing holds from step 0 on.
    """
    at = {int(k): v for k, v in steps.items()}
    if 0 not in at:
        raise RecipeError(f"{what} must say what holds from step 0 on, got {dict(steps)}")
    return at[max(s for s in at if s <= step)]


@dresser("demo_anneal")
def demo_anneal(
    seed: int,
    *,
    trace: str,
    counts: Mapping[int, int],
    least: float | None = None,
    pictures: bool = True,
    most: int = 256,
) -> Dresser:
    """Put demonstrations before the question, fewer and fewer of them.

    A demonstration is an attempt of a trace, told in words as it was written: question, turns,
    observations, answer. It is part of the user's message, so that nobody learns its tokens; with
    a count of 0 the task is asked exactly as in evaluation.

    Args:
        seed: Of which ones are shown; attempts at one task in one step see the same.
        trace: Folder of the attempts; a recipe's own `trace` if left out.
        counts: How many by the first step at which it holds: ``{0: 3, 100: 2, 200: 0}``.
        least: Only attempts that scored so much; None for all.
        pictures: Whether the demonstrations' pictures are shown too.
        most: Attempts of the trace that are held in memory.

    Raises:
        RecipeError: Nothing holds from step 0 on.
        DataError: The trace has no attempt that may be shown.

    Source: ICRL, in-context demonstrations 3, 2, 0, a hundred steps each.

    Traps: an attempt at the very task that is asked would tell its answer, so it is never shown;
    pictures of demonstrations come first, so places that belong to the question's are renumbered.
    """
    value_at(counts, 0, "curriculum demo_anneal: counts")
    shown = _demonstrations(trace, least, most)

    def dress(task: Task, step: int) -> Task:
        count = int(str(value_at(counts, step, "counts")))
        others = [e for e in shown if e.task_id != task.id] if count else []
        if not others:
            return task
        draw = chance("demo", (seed, step, task_number(task.id)))
        chosen = draw.permutation(len(others))[:count]
        parts: list[TaskPart] = []
        for number, i in enumerate(chosen.tolist(), 1):
            parts += demonstration(others[i], number, pictures=pictures)
        parts.append("Now your question.\n")
        return shifted(replace(task, prompt=(*parts, *task.prompt)), _pictures(parts))

    return dress


def demonstration(episode: Episode, number: int, *, pictures: bool = True) -> list[TaskPart]:
    """An attempt as parts of a question.

    Args:
        episode: The attempt.
        number: Of the example, from 1.
        pictures: Whether its pictures are shown.
    """
    store, parts = episode.final.store, list[TaskPart]()
    parts.append(f"Example {number}.\n")
    names = {Role.USER: "Question", Role.ASSISTANT: "You", Role.TOOL: "Result"}
    for message in episode.path_messages():
        if message.role not in names:
            continue
        parts.append(f"{names[message.role]}: ")
        for part in message.parts:
            if isinstance(part, Text):
                parts.append(part.text)
            elif isinstance(part, Show):
                value = store[part.handle].value
                parts.append(value if pictures and isinstance(value, Image) else "(picture)")
        parts.append("\n")
    return parts


def shifted(task: Task, count: int) -> Task:
    """The task with `count` pictures before its own: places name their picture by its index."""
    if not count:
        return task
    evidence = tuple(replace(e, image=e.image + count) for e in task.evidence)
    reference = task.reference
    if isinstance(reference, Boxes | Points):
        reference = replace(reference, image=reference.image + count)
    elif not isinstance(reference, Answer | Spans):
        raise DataError(f"a reference {type(reference).__name__} cannot follow demonstrations")
    return replace(task, evidence=evidence, reference=reference)


def _pictures(parts: Sequence[TaskPart]) -> int:
    return sum(isinstance(p, Image) for p in parts)


def _demonstrations(trace: str, least: float | None, most: int) -> list[Episode]:
    found: list[Episode] = []
    for record in read_trace(Path(trace)):
        total = None if record.score is None else record.score.total
        low = least is not None and (total is None or isinstance(total, Unscored) or total < least)
        if record.episode.stop.ours or low:
            continue
        found.append(record.episode)
        if len(found) == most:
            break
    if not found:
        raise DataError(f"{trace}: no attempt in it may be shown as a demonstration")
    return found


@dresser("tool_stage")
def tool_stage(seed: int, *, tools: Mapping[int, Sequence[str]]) -> Dresser:
    """Offer some of the recipe's tools, others later.

    Args:
        seed: Not used: nothing is drawn.
        tools: Names by the first step at which they are on offer.

    Raises:
        RecipeError: Nothing holds from step 0 on.

    Source: SpaceTools (DIRL): first one tool, in the end all.

    Traps: a task that allows certain tools only keeps to them; if a stage offers none of those,
    the task is asked without tools.
    """
    value_at(tools, 0, "curriculum tool_stage: tools")

    def dress(task: Task, step: int) -> Task:
        offered = value_at(tools, step, "tools")
        assert isinstance(offered, list | tuple)
        allowed = [n for n in offered if task.tools is None or n in task.tools]
        return replace(task, tools=tuple(allowed))

    return dress


@dataclass(frozen=True)
class BudgetSpec:
    """What attempts may use, told to the policy every turn; see `vtool.programs.budget`.

    Args:
        calls: Calls by tool, ``*`` for all together.
        tokens: Tokens that the policy may write; 0 for any number.
        random: Draw every count between this share of it and the whole, anew for each task and
            step; 1 draws nothing.
    """

    calls: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    random: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.random <= 1:
            raise RecipeError(f"budget.random is a share, above 0 to 1, not {self.random}")
        self.whole()

    def whole(self) -> Budget:
        """All of it."""
        return Budget(self.calls, self.tokens or None)

    def drawn(self, key: Sequence[int]) -> Budget:
        """The budget of one task in one step."""
        draw = chance("budget", key)

        def some(whole: int) -> int:
            if self.random == 1:
                return whole
            least = int(-(-whole * self.random // 1))
            return int(draw.integers(least, whole + 1))

        calls = {name: some(whole) for name, whole in sorted(self.calls.items())}
        return Budget(calls, max(1, some(self.tokens)) if self.tokens else None)


def dress_budget(spec: BudgetSpec, seed: int) -> Dresser:
    """Write a budget into the task's tags; attempts at one task in one step have the same.

    Source: BATS tells a budget at inference; training under random ones is its closest form.
    """

    def dress(task: Task, step: int) -> Task:
        budget = spec.drawn((seed, step, task_number(task.id)))
        return replace(task, tags={**task.tags, BUDGET: budget.to_json()})

    return dress


def budget_of(task: Task) -> Budget | None:
    """The budget in a task's tags, if there is one."""
    body = task.tags.get(BUDGET)
    if not isinstance(body, Mapping):
        return None
    calls, tokens = body.get("calls"), body.get("tokens")
    assert isinstance(calls, Mapping)
    return Budget(
        {str(k): int(str(v)) for k, v in calls.items()}, int(str(tokens)) if tokens else None
    )
