"""Judges: whoever decides what rules cannot, by name. A judge that is down is never a zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vtool.errors import VToolError
from vtool.registry import Registry

MAX_ANSWER = 1000
"""Longer answers are not shown to a judge: they are written to persuade it."""


class JudgeDown(VToolError, RuntimeError):
    """The judge could not be asked, or said nothing that can be read: unscored, never wrong."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a judge is asked.

    Args:
        question: What the policy was asked.
        accepted: Accepted answers; empty where a criterion alone decides.
        answer: What is judged: an answer, or the words of a turn.
        criterion: What it must meet beyond being right; None for rightness alone.
    """

    question: str
    accepted: tuple[str, ...]
    answer: str
    criterion: str | None = None


class Judge(Protocol):
    """Decides a case."""

    def __call__(self, case: Case) -> float:
        """How far the case is met, in [0, 1].

        Raises:
            JudgeDown: No verdict can be had.
        """
        ...


judges: Registry[Judge] = Registry("judge", "vtool.judges")
"""Judges by name; a published package adds its own through the entry point group."""
