"""Two evaluations of the same questions: which is better, and whether it may be luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vtool.errors import DataError
from vtool.intervals import clusters, mcnemar, mean, permutation, resampled
from vtool.message import Json

from .attempt import Attempt
from .results import read_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a paired test found, by task."""

    n: int
    """Tasks with a scored attempt in both."""
    only_a: int
    """Tasks that are scored in the first run alone: in no number below."""
    only_b: int
    a: float
    b: float
    difference: float
    """Second less first."""
    low: float
    high: float
    """95 % bootstrap interval of the difference, over clusters of tasks that share a picture."""
    better: int
    worse: int
    p: float
    test: str
    clusters: int

    def to_json(self) -> dict[str, Json]:
        """Plain values."""
        return asdict(self)


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> Comparison:
    """Compare two folders.

    Args:
        a: The first evaluation.
        b: The second one.
        seed: Of the resampling.

    Raises:
        DataError: One of them is no finished evaluation, they share no task, or a task of one id
            asks two questions.
    """
    return compare_attempts(read_samples(a), read_samples(b), seed=seed)


def compare_attempts(a: Sequence[Attempt], b: Sequence[Attempt], *, seed: int = 0) -> Comparison:
    """Compare attempts; a task's score is the mean of its attempts that count."""
    first, second = _by_task(a), _by_task(b)
    shared = [t for t in first if t in second]
    if not shared:
        raise DataError("the two evaluations share no scored task: expected the same questions")
    for task in shared:
        _check_same(first[task][0], second[task][0])
    xs, ys = ([mean([v.correct for v in run[t]]) for t in shared] for run in (first, second))
    gaps = [y - x for x, y in zip(xs, ys, strict=True)]
    of = clusters({t: first[t][0].media for t in shared})
    groups = [of[t] for t in shared]
    p, test = _test(xs, ys, groups, seed)
    low, high = resampled(gaps, groups, least=-1.0, seed=seed)
    return Comparison(
        n=len(shared),
        only_a=len(first) - len(shared),
        only_b=len(second) - len(shared),
        a=mean(xs),
        b=mean(ys),
        difference=mean(gaps),
        low=low,
        high=high,
        better=sum(g > 0 for g in gaps),
        worse=sum(g < 0 for g in gaps),
        p=p,
        test=test,
        clusters=len(set(groups)),
    )


def _test(
    xs: Sequence[float], ys: Sequence[float], groups: Sequence[int], seed: int
) -> tuple[float, str]:
    pairs = list(zip(xs, ys, strict=True))
    if {*xs, *ys} <= {0.0, 1.0} and len(set(groups)) == len(groups):
        return mcnemar(sum(x > y for x, y in pairs), sum(y > x for x, y in pairs)), "mcnemar"
    return permutation([y - x for x, y in pairs], groups, seed=seed), "permutation"


def _by_task(attempts: Sequence[Attempt]) -> Mapping[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.counts:
            found.setdefault(attempt.task_id, []).append(attempt)
    return found


def _check_same(a: Attempt, b: Attempt) -> None:
    if (a.question, a.media) != (b.question, b.media):
        raise DataError(
            f"task {a.task_id!r} asks two different questions in the two evaluations: expected "
            "runs of one task file"
        )


def to_markdown(c: Comparison) -> str:
    """One table."""
    note = f"; {c.only_a} and {c.only_b} tasks are scored in one run alone" * bool(
        c.only_a or c.only_b
    )
    return (
        "| n | A | B | B - A | 95 % | better | worse | p | test |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        f"| {c.n} | {c.a:.3f} | {c.b:.3f} | {c.difference:+.3f} | {c.low:+.3f} to {c.high:+.3f} "
        f"| {c.better} | {c.worse} | {c.p:.4f} | {c.test} |\n\n"
        f"{c.clusters} independent groups of tasks{note}\n"
    )
