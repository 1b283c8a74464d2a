"""What a world is: questions written as files, tools, and policies whose worth is known.

A world brings a scripted best policy, a guess and its chance, so that a learner can be told from
luck. Published packages add worlds through the entry point group `vtool.worlds`; ours come
through the same door.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vtool.environment import Limits
from vtool.errors import VToolError
from vtool.record import Episode
from vtool.registry import Registry
from vtool.task import Task
from vtool.tool import Tool

from .program import Program
from .score import right

Offered: TypeAlias = Tool | str | Mapping[str, Any]
"""A tool, the name of a registered one, or `{name: settings}`."""


Maker: TypeAlias = Callable[..., Path]
"""Writes a world's questions into a folder, which comes first; by keyword `seed`, `split` and the
world's own options. Tells the path of the task file."""

LIMITS = Limits(max_turns=5, seconds=600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One proving ground.

    Args:
        name: As in `vtool data make NAME` and a recipe's `data.world`.
        about: What it asks of a policy, in one sentence.
        make: Writes the questions; takes `seed`, `split` and options of its own.
        sized: Options that make that many questions, or a few more.
        tools: What is on offer in it; `world:NAME` in a recipe's `tools` and for `--tools`.
        best: The scripted best policy.
        guess: An answer without a look: the question's words and a generator to an answer.
        chance: How often a guess is right.
        bound: How often the best policy can be right, where tools fail.
        limits: Bounds of an episode that the best policy needs.
        needs_tool: Whether the first look leaves the scripted policy only a guess; where not,
            nothing is lost with the tool.
        price: What a call costs, in right answers.
        right: Whether an episode answers its task.
        note: What must be said beside its figures.
        page: What its page tells beyond `about`; the docstring of its module where left out.
    """

    name: str
    about: str
    make: Maker
    tools: tuple[Offered, ...]
    best: Program
    guess: Callable[[str, np.random.Generator], str]
    chance: float
    sized: Callable[[int], Mapping[str, Any]] = lambda count: {"count": count}
    bound: float = 1.0
    limits: Limits = LIMITS
    needs_tool: bool = True
    price: float = 0.0
    right: Callable[[Task, Episode], bool] = right
    note: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1 or not 0 < self.bound <= 1 or self.price < 0:
            raise VToolError(
                f"world {self.name}: expected a chance and a bound from 0 to 1 and a price of at "
                f"least 0, got {self.chance}, {self.bound} and {self.price}"
            )


worlds: Registry[World] = Registry("world", "vtool.worlds")
"""All worlds by name."""
