"""Who goes with whom: one-to-one matching by score, optimal or best first."""

from __future__ import annotations

from collections.abc import Sequence

Pairs = list[tuple[int, int]]
"""(row, column), rows rising."""


def best_assignment(scores: Sequence[Sequence[float]]) -> Pairs:
    """The matching with the largest sum of scores; every row or every column is matched.

    Args:
        scores: (n, m), finite.

    Source: the Hungarian method with potentials, O(n^2 m).
    """
    if not scores or not scores[0]:
        return []
    if len(scores) > len(scores[0]):
        turned = [list(column) for column in zip(*scores, strict=True)]
        return sorted((r, c) for c, r in best_assignment(turned))
    n, m = len(scores), len(scores[0])
    # Potentials of rows and columns; column 0 stands for "none yet".
    of_row, of_column, owner = [0.0] * (n + 1), [0.0] * (m + 1), [0] * (m + 1)
    for row in range(1, n + 1):
        owner[0] = row
        _augment(scores, of_row, of_column, owner)
    return sorted((owner[c] - 1, c - 1) for c in range(1, m + 1) if owner[c])


def _augment(
    scores: Sequence[Sequence[float]],
    of_row: list[float],
    of_column: list[float],
    owner: list[int],
) -> None:
    """Bring one more row in along the cheapest alternating path."""
    m = len(of_column) - 1
    least, came, done = [float("inf")] * (m + 1), [0] * (m + 1), [False] * (m + 1)
    at = 0
    while owner[at]:
        done[at] = True
        row, step, following = owner[at], float("inf"), 0
        for c in range(1, m + 1):
            if done[c]:
                continue
            cost = -scores[row - 1][c - 1] - of_row[row] - of_column[c]
            if cost < least[c]:
                least[c], came[c] = cost, at
            if least[c] < step:
                step, following = least[c], c
        for c in range(m + 1):
            if done[c]:
                of_row[owner[c]] += step
                of_column[c] -= step
            else:
                least[c] -= step
        at = following
    while at:
        owner[at] = owner[came[at]]
        at = came[at]


def greedy_assignment(scores: Sequence[Sequence[float]]) -> Pairs:
    """Best pair first, then the best of what is left; ties go to the earlier row and column."""
    cells = [(-s, r, c) for r, row in enumerate(scores) for c, s in enumerate(row)]
    pairs: Pairs = []
    for _, r, c in sorted(cells):
        if all(r != row and c != column for row, column in pairs):
            pairs.append((r, c))
    return sorted(pairs)
