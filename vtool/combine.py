"""How reward parts become one number: named pure functions.

The default is the hierarchy gate -> outcome -> process. Each level counts only above the one
before it: an episode that fails the gate gets 0 whatever else it did, and no amount of process
lifts a worse outcome over a better one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vtool.errors import RecipeError, nearest
from vtool.reward import Combine, Marks, Score, Unscored, combines


def hierarchy(
    gate: str = "format",
    outcome: str = "answer",
    process: Mapping[str, float | Mapping[str, float]] | None = None,
    *,
    gate_value: float = 0.1,
    share: float = 0.5,
    step: float = 1.0,
) -> Combine:
    """Gate, then outcome, then process.

    ``total = gate_value + floor(outcome / step) * step + share * step * process`` where the gate
    is passed, else 0; `process` is the weighted mean of the parts that apply, in [0, 1]. A mapping
    inside it is a half: all halves that apply weigh the same.

    Args:
        gate: Part in {0, 1} that must be passed.
        outcome: Part in [0, 1]: is the answer right.
        process: Parts in [0, 1] and their weights; or halves by name, such as evidence and
            economy, each with its parts and weights.
        gate_value: Credit for passing the gate.
        share: Height of the process level as a share of one outcome step, below 1.
        step: Smallest difference between outcomes that counts; 1 for right or wrong.

    Raises:
        RecipeError: Values that would break the order of the levels.
    """
    halves = _halves(process or {})
    weights = {name: w for half in halves for name, w in half.items()}
    if not (0 <= share < 1 and step > 0 and gate_value >= 0):
        raise RecipeError(
            f"hierarchy needs 0 <= share < 1, step > 0, gate_value >= 0; got share={share}, "
            f"step={step}, gate_value={gate_value}"
        )
    if any(w <= 0 for w in weights.values()):
        raise RecipeError(f"process weights must be positive, got {weights}")

    def combine(parts: Mapping[str, Marks]) -> Score:
        lost = first_unscored(parts, (gate, outcome, *weights))
        if lost is not None:
            return Score(parts, lost)
        if number(parts, gate) < 1:
            return Score(parts, 0.0, terms={gate: 0.0})
        # A sliver is added before flooring: 0.3 / 0.1 is 2.999...
        level = math.floor(number(parts, outcome) / step + 1e-9) * step
        told = [m for m in (_mean_of(parts, half) for half in halves) if m is not None]
        worth = sum(told) / len(told) if told else 0.0
        height = share * step
        terms = {gate: gate_value, outcome: level, **_shares(parts, halves, height)}
        return Score(parts, gate_value + level + height * worth, terms=terms)

    return combine


def weighted(weights: Mapping[str, float]) -> Combine:
    """The weighted sum of the parts; parts that judge turns become credit per turn.

    Trap: with an estimator, credit per turn is added as it stands, centred by nothing, so that what
    every turn gets pushes every turn; take a mean over turns (`format_mean`), or a blend.

    Args:
        weights: Part names and their weights.
    """

    def combine(parts: Mapping[str, Marks]) -> Score:
        lost = first_unscored(parts, tuple(weights))
        if lost is not None:
            return Score(parts, lost)
        total = 0.0
        turns: dict[int, float] = {}
        terms: dict[str, float] = {}
        for name, weight in weights.items():
            marks = known(parts, name)
            if isinstance(marks, Sequence):
                for turn, value in enumerate(marks):
                    turns[turn] = turns.get(turn, 0.0) + weight * value
            elif marks is not None and not isinstance(marks, Unscored):
                terms[name] = weight * marks
                total += weight * marks
        return Score(parts, total, turns, terms)

    return combine


def known(parts: Mapping[str, Marks], name: str) -> Marks:
    """The marks of a part that was judged; None where it does not apply.

    Raises:
        RecipeError: No such part was judged: a misspelt name would weigh nothing in silence.
    """
    if name not in parts:
        raise RecipeError(f"no part {name!r} was judged{nearest(name, parts)}; add it to `parts`")
    return parts[name]


def number(parts: Mapping[str, Marks], name: str) -> float:
    """The mark of an episode part that must apply.

    Raises:
        RecipeError: The part is missing or is no single number.
    """
    marks = parts.get(name)
    if not isinstance(marks, int | float):
        came = "which does not apply to this task" if marks is None else f"got {marks!r}"
        raise RecipeError(f"combine needs a number from part {name!r}, {came}")
    return float(marks)


def _halves(
    process: Mapping[str, float | Mapping[str, float]],
) -> list[Mapping[str, float]]:
    """The process as halves; parts beside one another are one half.

    Raises:
        RecipeError: Some stand alone and some in halves, so that no weight could be compared.
    """
    inner = [v for v in process.values() if isinstance(v, Mapping)]
    if not inner:
        return [{n: float(w) for n, w in process.items() if not isinstance(w, Mapping)}]
    if len(inner) < len(process):
        raise RecipeError(f"process holds parts or halves, not both: {dict(process)}")
    return inner


def _mean_of(parts: Mapping[str, Marks], weights: Mapping[str, float]) -> float | None:
    """Mean of the parts that apply, None where none does, clipped to [0, 1]."""
    pairs = [(w, number(parts, n)) for n, w in weights.items() if known(parts, n) is not None]
    if not pairs:
        return None
    mean = sum(w * v for w, v in pairs) / sum(w for w, _ in pairs)
    return min(1.0, max(0.0, mean))


def _shares(
    parts: Mapping[str, Marks], halves: Sequence[Mapping[str, float]], height: float
) -> dict[str, float]:
    """What each part of the process adds; those that do not apply are left out."""
    told: list[tuple[float, dict[str, float]]] = []
    for half in halves:
        mean = _mean_of(parts, half)
        if mean is not None:
            worth = {n: w * number(parts, n) for n, w in half.items() if parts[n] is not None}
            told.append((mean, worth))
    out: dict[str, float] = {}
    for mean, worth in told:
        whole = sum(worth.values())
        scale = height * mean / len(told) / whole if whole else 0.0
        for name, value in worth.items():
            out[name] = out.get(name, 0.0) + scale * value
    return out


def first_unscored(parts: Mapping[str, Marks], names: Sequence[str]) -> Unscored | None:
    """The first part that could not judge, or None."""
    for name in names:
        marks = parts.get(name)
        if isinstance(marks, Unscored):
            return Unscored(f"{name}: {marks.reason}")
    return None


combines.add("hierarchy", hierarchy)
combines.add("weighted", weighted)
