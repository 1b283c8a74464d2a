"""R4, kernels: how like two calls are, and what a list of calls is worth against another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtool.assignment import best_assignment, greedy_assignment

Same = Callable[[object, object], bool]
"""Whether two argument values are the same."""


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A call by the tool's own names."""

    name: str
    arguments: Mapping[str, Any]


def equal(a: object, b: object) -> bool:
    """Values that are equal and of one type: 1 is not True, "1" is not 1."""
    numbers = not isinstance(a, bool) and not isinstance(b, bool)
    alike = isinstance(a, int | float) and isinstance(b, int | float) and numbers
    return a == b and (alike or type(a) is type(b))


def overlap(given: PlainCall, wanted: PlainCall, same: Same = equal) -> float:
    """Jaccard of the argument names, plus the number of equal values."""
    a, b = set(given.arguments), set(wanted.arguments)
    names = len(a & b) / len(a | b) if a | b else 1.0
    return names + sum(same(given.arguments[k], wanted.arguments[k]) for k in a & b)


def similarity(given: PlainCall, wanted: PlainCall, same: Same = equal) -> float:
    """0 for another name, else (1 + Jaccard of argument names + equal values) / (2 + arguments).

    Source: MatchTIR, sim(p, g); 1 for an exact call.
    """
    if given.name != wanted.name:
        return 0.0
    return (1.0 + overlap(given, wanted, same)) / (2.0 + len(wanted.arguments))


def matched(
    scores: Sequence[Sequence[float]], *, greedy: bool = False, unmatched: float = 0.0
) -> list[float]:
    """What each given call earns: its score with the wanted call that it is matched to.

    Args:
        scores: (given, wanted) similarities.
        greedy: Best pair first, instead of the best matching.
        unmatched: For a call without a partner, or with one that it is not like at all.

    Source: MatchTIR. Trap: the released function called Hungarian is greedy, and its default for
    unmatched calls is -.5, while training sets 0; [[.9, .8], [.8, 0]] sums to .9 or to 1.6.
    """
    pairs = greedy_assignment(scores) if greedy else best_assignment(scores)
    out = [unmatched] * len(scores)
    for row, column in pairs:
        if scores[row][column] > 0:
            out[row] = scores[row][column]
    return out


def transported(
    scores: Sequence[Sequence[float]], *, regulariser: float = 0.1, rounds: int = 200
) -> list[float]:
    """Soft matching: reward_i = sum_j T_ij S_ij, T the entropic transport plan at cost -S.

    Source: MatchTIR, the optimal transport variant (Sinkhorn, regulariser .1, uniform marginals).
    """
    if not scores or not scores[0]:
        return [0.0] * len(scores)
    n, m = len(scores), len(scores[0])
    kernel = [[math.exp(s / regulariser) for s in row] for row in scores]
    u, v = [1.0] * n, [1.0] * m
    for _ in range(rounds):
        u = [1 / n / sum(k * x for k, x in zip(row, v, strict=True)) for row in kernel]
        v = [1 / m / sum(kernel[i][j] * u[i] for i in range(n)) for j in range(m)]
    return [sum(u[i] * kernel[i][j] * v[j] * scores[i][j] for j in range(m)) for i in range(n)]


def toolrl(given: Sequence[PlainCall], wanted: Sequence[PlainCall], same: Same = equal) -> float:
    """6 s / S - 3, in [-3, 3].

    s is the Jaccard of the two multisets of names plus, for each wanted call, the best `overlap`
    with an unused call of that name; S = 1 + sum (1 + arguments) is what an exact answer gets.

    Source: ToolRL, R_corr. Trap: no wanted call gives 0 whatever was called.
    """
    if not wanted:
        return 0.0
    a, b = Counter(c.name for c in given), Counter(c.name for c in wanted)
    score = (a & b).total() / (a | b).total()
    left = list(given)
    for call in wanted:
        rivals = [c for c in left if c.name == call.name]
        if rivals:
            best = max(rivals, key=lambda c: overlap(c, call, same))
            score += overlap(best, call, same)
            left = [c for c in left if c is not best]
    most = 1 + sum(1 + len(c.arguments) for c in wanted)
    return 6 * score / most - 3


def sentinel_mean(scores: Sequence[float]) -> float:
    """Mean of the scores before the first -1, trailing zeros dropped; 0 where none is left.

    Source: AdaReasoner's released scorer: [4, 2, 0, 0, -1, 3] is 3.
    """
    kept = list(scores)
    kept = kept[: kept.index(-1)] if -1 in kept else kept
    while kept and kept[-1] == 0:
        kept.pop()
    return math.fsum(kept) / len(kept) if kept else 0.0
