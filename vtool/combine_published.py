"""Combines that published systems use, by name: what the hierarchy is measured against.

Each is a pure function of the parts. None of them keeps the order of the hierarchy in general;
where one lets a worse outcome pass a better one, its trap says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vtool.combine import first_unscored, known, number
from vtool.combine_turns import turn_sum, with_turns
from vtool.reward import Combine, Marks, Score, Unscored, combines
from vtool.shaping import scheduled as value_of
from vtool.shaping import stepped as steps_of

Weights = Mapping[str, float]


def conditional_bonus(
    base: Weights | None = None,
    bonus: Weights | None = None,
    *,
    given: str = "answer",
    above: float = 0.5,
) -> Combine:
    """The weighted base, plus the weighted bonus where an outcome is good enough.

    Source: DeepEyes v1, .8 answer + .2 format_penalty + 1.2 tool_used if right: 2.0 right with a
    tool, .8 right without, 0 wrong with a tool, -.2 wrong and malformed.
    Trap: among right answers the bonus outweighs everything else.

    Args:
        base: Parts and weights that always count.
        bonus: Parts and weights that count where `given` exceeds `above`.
        given: The outcome.
        above: What it must exceed.
    """
    always = dict({"answer": 0.8, "format_penalty": 0.2} if base is None else base)
    extra = dict({"tool_used": 1.2} if bonus is None else bonus)

    def total(parts: Mapping[str, Marks]) -> float:
        out = dot(parts, always)
        return out + dot(parts, extra) if number(parts, given) > above else out

    return _scored(total, (*always, *extra, given))


def multi_bonus(
    gate: str = "format",
    outcome: str = "answer_f1",
    bonus: str = "tools_used_all",
    *,
    amount: float = 0.1,
    malformed: float = -1.0,
    most: float | None = None,
) -> Combine:
    """-1 if malformed; else the outcome, plus `amount` where it is above 0 and all tools were used.

    Source: ARPO and Tool-Star: F1 .5 with both tools is .6. Trap: the released code adds to F1 and
    does not cap at 1; `most: 1.0` caps.
    """

    def total(parts: Mapping[str, Marks]) -> float:
        if number(parts, gate) < 1:
            return malformed
        out = number(parts, outcome)
        if out > 0 and number(parts, bonus) >= 1:
            out += amount
        return out if most is None else min(most, out)

    return _scored(total, (gate, outcome, bonus))


def discounted(
    outcome: str = "answer",
    format: str = "format_short",
    called: str = "tool_called",
    *,
    weight: float = 0.8,
    format_weight: float = 0.2,
    discount: float = 0.1,
) -> Combine:
    """The outcome, less where a tool was called, plus format.

    ``weight * outcome * (1 - discount if any call) + format_weight * format``.

    Source: DeepEyesV2 on search questions (x .9); VisionThink is weight 1, format_weight .5.
    Trap: DeepEyesV2 pays no bonus and no discount on other questions: `discount: 0`.
    """

    def total(parts: Mapping[str, Marks]) -> float:
        cut = 1 - discount * (number(parts, called) > 0)
        return weight * number(parts, outcome) * cut + format_weight * number(parts, format)

    return _scored(total, (outcome, format, called))


def product(
    outcome: str = "answer", factors: Sequence[str] = ("otc",), *, scale: float = 1.0
) -> Combine:
    """The outcome times every factor, times `scale`.

    Source: OTC, R = alpha r_tool R_acc; ToolOrchestra, 1[outcome] <M, P>. Trap: a factor below 0
    turns the order of outcomes round.
    """

    def total(parts: Mapping[str, Marks]) -> float:
        values = [number(parts, f) for f in factors]
        return scale * math.prod([number(parts, outcome), *values])

    return _scored(total, (outcome, *factors))


def asymmetric(
    gate: str = "format",
    outcome: str = "answer",
    *,
    right: float = 8.0,
    wrong: Weights | None = None,
    above: float = 0.5,
) -> Combine:
    """0 if malformed, `right` if right whatever the tools, else what the calls are worth.

    Source: AdaReasoner's code: 8 or the mean of call scores 0 to 4; its variant is `right: 3`,
    `wrong: {answer: .5, call_ladder: .25}`. The paper's form is `gated`.
    """
    other = dict({"call_ladder": 1.0} if wrong is None else wrong)

    def total(parts: Mapping[str, Marks]) -> float:
        if number(parts, gate) < 1:
            return 0.0
        return right if number(parts, outcome) > above else dot(parts, other)

    return _scored(total, (gate, outcome, *other))


def gated(gate: str = "format", weights: Weights | None = None, *, closed: float = 0.0) -> Combine:
    """`closed` if malformed, else the weighted sum.

    Source: AdaReasoner's paper, R_fmt (l_t R_tool + l_a R_acc); TAPO closes at -1.
    """
    inside = dict({"answer": 1.0} if weights is None else weights)

    def total(parts: Mapping[str, Marks]) -> float:
        return closed if number(parts, gate) < 1 else dot(parts, inside)

    return _scored(total, (gate, *inside))


def signed(
    gate: str | None = "format",
    outcome: str = "answer",
    *,
    above: float = 0.5,
    turns: str | None = None,
) -> Combine:
    """1 if right, -1 if wrong or malformed.

    Source: TAPO (with the gate), ReTool (`gate: null`), REVPT; PORTool with `gate: null` and
    `turns: turn_format`. Trap: marks of turns are not centred, so that only rules which compare
    steps (`fork_group` of `sum`) should read them.

    Args:
        gate: Part that must be 1, or None.
        outcome: Part that says what is right.
        above: What it must exceed.
        turns: Part that judges turns in [0, 1]; handed on by turn as -1 to 1.
    """

    def total(parts: Mapping[str, Marks]) -> float:
        closed = gate is not None and number(parts, gate) < 1
        return -1.0 if closed or number(parts, outcome) <= above else 1.0

    whole = _scored(total, (outcome, *([gate] if gate else []), *([turns] if turns else [])))
    return whole if turns is None else with_turns(whole, turns)


def stepped(
    outcome: str = "mask_iou_last",
    format: str = "format_strict",
    bonus: Weights | None = None,
    *,
    thresholds: Sequence[float] = (0.5, 0.7, 0.8),
    points: Sequence[float] = (1.0, 2.0, 3.0),
) -> Combine:
    """Points of the highest threshold exceeded, plus format, plus a bonus where there are points.

    Source: Ophiuchus, S_ans + S_fmt + S_tool: IoU .81, a tool, clean: 3 + 1 + 2 = 6; wrong with a
    tool: 1. For multiple choice `thresholds: [.5]`, `points: [1]`.
    Trap: a tool is worth as much as two steps of IoU.
    """
    extra = dict({"tool_used": 2.0} if bonus is None else bonus)

    def total(parts: Mapping[str, Marks]) -> float:
        found = steps_of(number(parts, outcome), thresholds, points)
        out = found + number(parts, format)
        return out + dot(parts, extra) if found > 0 else out

    return _scored(total, (outcome, format, *extra))


def ladder(levels: Weights, *, base: float = 0.0) -> Combine:
    """The points of the first part that is 1, in the order given, finest first.

    Source: GeoVista, city 4, state 2, country 1: a finer level implies the coarser ones.
    """
    rungs = dict(levels)

    def total(parts: Mapping[str, Marks]) -> float:
        right = [points for name, points in rungs.items() if number(parts, name) >= 1]
        return right[0] if right else base

    return _scored(total, tuple(rungs))


def gated_curiosity(
    outcome: str = "answer",
    bonus: Weights | None = None,
    *,
    gate: str = "format",
    above: float = 0.5,
) -> Combine:
    """The outcome, plus curiosity and redundancy only where it is right and well formed.

    Source: Pixel-Reasoner's bonus (rate 1/8, three calls: +.0875 - .1), which its code also pays
    for wrong answers; the gate is ours. Without it: `weighted`.
    """
    extra = dict({"curiosity_tool_rate": 1.0, "redundancy": 1.0} if bonus is None else bonus)

    def total(parts: Mapping[str, Marks]) -> float:
        out = number(parts, outcome)
        open_ = number(parts, gate) >= 1 and out > above
        return out + dot(parts, extra) if open_ else out

    return _scored(total, (outcome, gate, *extra))


def scheduled(
    weights: Mapping[str, float | Mapping[str, Any]], *, step: str = "training_step"
) -> Combine:
    """The weighted sum, with weights that may follow a schedule over the steps of training.

    Source: ToolRL (`{kind: stages, borders: [30], values: [1, 2]}`, `{kind: linear, start: ...,
    end: ..., until: 150}`), SPEAR (`{kind: cosine, until: 200}`). The part `training_step` must be
    among the recipe's parts.
    """
    told = dict(weights)

    def total(parts: Mapping[str, Marks]) -> float:
        now = number(parts, step)
        fixed = {n: w if isinstance(w, int | float) else value_of(now, w) for n, w in told.items()}
        return dot(parts, fixed)

    return _scored(total, (step, *told))


def dot(parts: Mapping[str, Marks], weights: Weights) -> float:
    """Weighted sum of episode parts; those that do not apply add nothing.

    Raises:
        RecipeError: A part that was not judged, or that judges turns.
    """
    return math.fsum(
        w * number(parts, n) for n, w in weights.items() if known(parts, n) is not None
    )


def _scored(total: Any, names: Sequence[str]) -> Combine:
    def combine(parts: Mapping[str, Marks]) -> Score:
        lost: Unscored | None = first_unscored(parts, names)
        return Score(parts, lost if lost is not None else total(parts))

    return combine


PUBLISHED: Mapping[str, Callable[..., Combine]] = {
    "asymmetric": asymmetric,
    "conditional_bonus": conditional_bonus,
    "discounted": discounted,
    "gated": gated,
    "gated_curiosity": gated_curiosity,
    "ladder": ladder,
    "multi_bonus": multi_bonus,
    "product": product,
    "scheduled": scheduled,
    "signed": signed,
    "stepped": stepped,
    "turn_sum": turn_sum,
}
for _name, _make in PUBLISHED.items():
    combines.add(_name, _make)
