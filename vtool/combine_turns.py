"""Combines that give each turn its own credit beside the total."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vtool.combine import first_unscored, known
from vtool.errors import RecipeError
from vtool.reward import Combine, Marks, Score, Unscored


def turn_sum(part: str = "call_match") -> Combine:
    """The sum over turns, with each turn's own credit.

    Source: MatchTIR: the trajectory's reward is the sum of its turns' rewards.
    """

    def combine(parts: Mapping[str, Marks]) -> Score:
        lost = first_unscored(parts, (part,))
        if lost is not None:
            return Score(parts, lost)
        marks = known(parts, part)
        if not isinstance(marks, Sequence):
            raise RecipeError(f"turn_sum needs one mark a turn from part {part!r}, got {marks!r}")
        return Score(parts, math.fsum(marks), dict(enumerate(map(float, marks))))

    return combine


def with_turns(combine: Combine, name: str) -> Combine:
    """A combine whose score also gives each turn its own mark, from [0, 1] to [-1, 1]."""

    def told(parts: Mapping[str, Marks]) -> Score:
        score, marks = combine(parts), known(parts, name)
        if isinstance(score.total, Unscored):
            return score
        if not isinstance(marks, Sequence):
            raise RecipeError(f"turns needs one mark a turn from part {name!r}, got {marks!r}")
        return replace(score, turns={i: 2.0 * mark - 1.0 for i, mark in enumerate(marks)})

    return told
