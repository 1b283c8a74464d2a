"""Under which names tools are told: their own, or random ones, which make a policy read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vtool.errors import DataError, RecipeError
from vtool.message import Json
from vtool.programs.chance import chance
from vtool.task import Task
from vtool.toolbox import Toolbox

from .curriculum import Dresser, dresser
from .replay import task_number

NAMES = "tool_names"
"""Tag of a task that holds the seed of its tools' names and, perhaps, other descriptions."""
SEEDS = 1 << 30
"""Seeds of names in training are below; those from here on are met in evaluation only."""


@dresser(NAMES)
def tool_names(
    seed: int,
    *,
    wordings: Mapping[str, Sequence[str]] | None = None,
    words: Sequence[str] | None = None,
    share: float = 1.0,
) -> Dresser:
    """Tell tools under random names, drawn anew for each task and step.

    Attempts at one task in one step are told the same names. The policy must be told its tools
    at all (`announce` in the checkpoint's `vtool.json`), else it could only guess.

    Args:
        seed: Of the names.
        wordings: Other descriptions by tool; one of them, or the tool's own, is drawn.
        words: What tools and arguments may be called; random letters if left out.
        share: Of tasks whose tools are renamed; the others keep their tools' own names.

    Raises:
        RecipeError: `share` is no share.

    Source: AdaReasoner, adaptive learning: random identifiers and reworded descriptions of tools
    make a policy generalise to tools that it has not seen.
    """
    if not 0 <= share <= 1:
        raise RecipeError(f"curriculum {NAMES}: share is from 0 to 1, not {share}")

    def dress(task: Task, step: int) -> Task:
        draw = chance(NAMES, (seed, step, task_number(task.id)))
        if draw.random() >= share:
            return task
        return renamed(task, int(draw.integers(SEEDS)), wordings, words)

    return dress


def renamed(
    task: Task,
    seed: int,
    wordings: Mapping[str, Sequence[str]] | None = None,
    words: Sequence[str] | None = None,
) -> Task:
    """The task with a note of how its tools are called."""
    note: dict[str, Json] = {"seed": seed}
    if wordings:
        note["wordings"] = {name: list(texts) for name, texts in wordings.items()}
    if words is not None:
        note["words"] = list(words)
    return replace(task, tags={**task.tags, NAMES: note})


def in_evaluation(tasks: Sequence[Task], seed: int | None) -> list[Task]:
    """Tasks as they are asked in evaluation: with names of that seed, or as they are."""
    return [t if seed is None else renamed(t, seed) for t in tasks]


def offered(task: Task, toolbox: Toolbox, seed: int | None = None) -> tuple[Task, Toolbox]:
    """The task and its tools under the names that are noted for it.

    Args:
        task: Perhaps with a note.
        toolbox: All tools, under their own names.
        seed: Of names where the task has no note; None keeps their own.

    Returns:
        The task, less its choice of tools where that has been made, and the tools.

    Raises:
        DataError: The note is none of ours.
    """
    note = task.tags.get(NAMES, None if seed is None else {"seed": seed})
    if note is None:
        return task, toolbox
    if not isinstance(note, Mapping) or not isinstance(note.get("seed"), int):
        raise DataError(f"task {task.id!r}: tag {NAMES} must hold a seed, got {note!r}")
    chosen = toolbox if task.tools is None else toolbox.only(task.tools)
    said: Any = note.get("wordings") or {}
    words: Any = note.get("words")
    # A wording for a tool that this task does not offer is no mistake: the note is one for all.
    mine = {s.name: said[s.name] for s in chosen.specs if s.name in said}
    return replace(task, tools=None), chosen.view(int(str(note["seed"])), mine, words)
