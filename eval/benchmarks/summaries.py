"""Tables of benchmarks: accuracy by group, and means of group means."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from vtool.benchmark import Judged, Summary, mean_score


def mean(values: Sequence[float]) -> float:
    """Mean; 0 of nothing."""
    return math.fsum(values) / len(values) if values else 0.0


def groups(judged: Sequence[Judged], tag: str) -> dict[str, list[float]]:
    """Scores by a tag, in the order of its values."""
    out: dict[str, list[float]] = defaultdict(list)
    for j in judged:
        out[str(j.tags.get(tag, ""))].append(j.score)
    return dict(sorted(out.items()))


def by(*tags: str) -> Summary:
    """The mean over all, and over each value of some tags."""

    def table(judged: Sequence[Judged]) -> dict[str, float]:
        rows = {g: mean(v) for tag in tags for g, v in groups(judged, tag).items()}
        return {**mean_score(judged), **rows}

    return table


def macro(tag: str, merge: Callable[[str], str] | None = None) -> Summary:
    """The mean of the means of a tag's values, and those means.

    Args:
        tag: Its values are the groups.
        merge: Groups whose means are averaged first, into one of the given name.
    """

    def table(judged: Sequence[Judged]) -> dict[str, float]:
        rows = {g: mean(v) for g, v in groups(judged, tag).items()}
        outer: dict[str, list[float]] = defaultdict(list)
        for name, value in rows.items():
            outer[merge(name) if merge else name].append(value)
        merged = {name: mean(values) for name, values in outer.items()}
        return {"overall": mean(list(merged.values())), **merged}

    return table


def crossed(*tags: str) -> Summary:
    """The mean over all, and over each combination of some tags."""

    def table(judged: Sequence[Judged]) -> dict[str, float]:
        cells: dict[str, list[float]] = defaultdict(list)
        for j in judged:
            cells["/".join(str(j.tags.get(t, "")) for t in tags)].append(j.score)
        return {**mean_score(judged), **{k: mean(v) for k, v in sorted(cells.items())}}

    return table
