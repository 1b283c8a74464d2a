"""Intervals and paired tests: how much of a number is luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054
DRAWS = 2000
_BLOCK = 4_000_000
"""Numbers drawn at once: bounds the memory of a large benchmark."""


def mean(values: Sequence[float]) -> float:
    """Mean; 0 of nothing."""
    # Exact, so that the order in which attempts finished leaves no trace.
    return math.fsum(values) / len(values) if values else 0.0


def wilson(share: float, n: int, z: float = _Z95) -> tuple[float, float]:
    """Wilson score interval of a share.

    Args:
        share: Successes over `n`, in [0, 1].
        n: Independent draws; none give the whole of [0, 1].
        z: Normal quantile.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, equation 4.
    """
    if n == 0:
        return 0.0, 1.0
    z2 = z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    values: Sequence[float], clusters: Sequence[int], *, seed: int = 0, draws: int = DRAWS
) -> tuple[float, float]:
    """95 % percentile interval of a mean, by drawing whole clusters with replacement.

    Args:
        values: One number a task.
        clusters: Which cluster each belongs to; tasks that share a picture share a cluster.
        seed: Of the draws.
        draws: How many.

    Source: Davison, Hinkley 1997, section 3.8 (cluster resampling); percentile interval.
    """
    sums, sizes = _cluster_sums(values, clusters)
    count = len(sums)
    if count < 2:
        return 0.0, 1.0
    rng = np.random.default_rng(seed)
    step, found = max(1, _BLOCK // count), []
    for at in range(0, draws, step):
        picked = rng.integers(count, size=(min(step, draws - at), count))
        found.append(sums[picked].sum(1) / sizes[picked].sum(1))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return float(low), float(high)


def resampled(
    values: Sequence[float],
    clusters: Sequence[int],
    *,
    least: float = 0.0,
    most: float = 1.0,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of a mean of bounded values, over clusters; never of no width.

    The bootstrap; where all values are alike it has nothing to resample and no width, and so many
    clusters as Wilson's interval allows for none seen may lie at either bound instead.

    Args:
        values: One number a task.
        clusters: Which cluster each belongs to.
        least: The smallest value that there can be.
        most: The largest one.
        seed: Of the draws.
    """
    count = len(set(clusters))
    if count < 2:
        return least, most
    first = values[0]
    if any(v != first for v in values):
        return bootstrap(values, clusters, seed=seed)
    _, others = wilson(0.0, count)
    return first - others * (first - least), first + others * (most - first)


def _cluster_sums(
    values: Sequence[float], clusters: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _, at = np.unique(np.asarray(clusters, np.int64), return_inverse=True)
    n = int(at.max()) + 1 if len(at) else 0
    sums = np.bincount(at, np.asarray(values, np.float64), n).astype(np.float64)
    return sums, np.bincount(at, minlength=n).astype(np.float64)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    Args:
        only_first: Tasks that the first run alone got right.
        only_second: Tasks that the second alone got right.

    Source: McNemar 1947; exact binomial form, Agresti 2002, section 10.1.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    tail = math.fsum(math.comb(n, i) / 2**n for i in range(least + 1))
    return min(1.0, 2 * tail)


EXACT_UP_TO = 16


def permutation(
    differences: Sequence[float], clusters: Sequence[int], *, seed: int = 0, draws: int = 10_000
) -> float:
    """Two-sided p-value of the paired sign-flip test; a cluster's differences flip together.

    All patterns are counted where there are few clusters, else so many are drawn, the observed
    one among them.

    Source: Good 2005, section 3.7; Phipson, Smyth 2010 (the observed one counts).
    """
    sums, _ = _cluster_sums(differences, clusters)
    sums = sums[sums != 0]
    observed = abs(sums.sum()) * (1 - 1e-12)
    if not len(sums):
        return 1.0
    if len(sums) <= EXACT_UP_TO:
        bits = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float(np.mean(np.abs((1 - 2.0 * bits) @ sums) >= observed))
    rng = np.random.default_rng(seed)
    step, hits = max(1, _BLOCK // len(sums)), 0
    for at in range(0, draws, step):
        signs = rng.integers(2, size=(min(step, draws - at), len(sums))) * 2.0 - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ sums) >= observed))
    return (hits + 1) / (draws + 1)


def sign_flip_interval(differences: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a mean difference: the values that the sign-flip test does not refuse.

    Exact for few and symmetric differences, where a bootstrap interval is too short (of six it
    holds the truth in 86 of 100 cases). Fewer than six allow no bounds; beyond `EXACT_UP_TO` it is
    the bootstrap's.

    Args:
        differences: One a seed.

    Source: Hartigan 1969, Using subsample values as typical values: the means of all subsets cut
        the line into intervals that are equally likely to hold the truth.
    """
    n = len(differences)
    if n > EXACT_UP_TO:
        return bootstrap(differences, range(n))
    outside = int(0.025 * 2**n)
    if outside < 1:
        return -math.inf, math.inf
    bits = np.arange(1, 2**n)[:, None] >> np.arange(n) & 1
    means = np.sort(bits @ np.asarray(differences, np.float64) / bits.sum(1))
    return float(means[outside - 1]), float(means[-outside])


def clusters(media: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Tasks that share a picture or video, directly or through others, get one number.

    Args:
        media: Digests by task.
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for task, digests in media.items():
        for digest in digests:
            root[find(f"task {task}")] = find(f"media {digest}")
    numbers: dict[str, int] = {}
    return {t: numbers.setdefault(find(f"task {t}"), len(numbers)) for t in media}
