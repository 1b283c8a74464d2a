"""Advantage estimators: numbers in, numbers out.

Every kernel here takes the returns of a batch of rollouts, says which of them may be believed
(`mask`) and which belong together (`groups`), and answers one float64 per rollout. The unit is
the rollout: a rollout of many contexts counts once. Three promises hold for all of them:

- a constant group, and a group of one, gives exactly 0, never NaN;
- a rollout that is masked out gets 0 and enters no mean, no deviation, no count; its return is
  never read, so it may be NaN;
- a return that is not a finite number is an error that names its index.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtool.errors import VToolError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EPS = 1e-6
"""Added to a deviation before dividing by it, as the released GRPO trainers do."""
MAX_RETURN = 1e100
"""Beyond it a square leaves float64, and a mean would turn into inf without a word."""


class Scale(StrEnum):
    """What a centred return is divided by."""

    STD = "std"
    """Sample deviation of the group, n-1."""
    POP = "pop"
    """Population deviation of the group, n."""
    NONE = "none"
    """Nothing."""


class Singleton(StrEnum):
    """What a group with one believed rollout gets."""

    ZERO = "zero"
    """0: one rollout says nothing about being better than others."""
    RAW = "raw"
    """Its return as it is, what verl does (mean := 0, deviation := 1). For comparisons only."""


class Baseline(StrEnum):
    """What is subtracted from a return."""

    MEAN = "mean"
    """The mean of the group."""
    OTHERS = "loo"
    """The mean of the other members (leave one out)."""


class AdvantageError(VToolError, ValueError):
    """Returns, masks or groups from which no advantage can be computed."""


def group_norm(
    returns: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    scale: Scale | str = Scale.STD,
    eps: float = EPS,
    singleton: Singleton | str = Singleton.ZERO,
) -> Floats:
    """Return minus group mean, over the group's deviation: GRPO.

    Args:
        returns: (N,) one scalar per rollout.
        mask: (N,) True where the return may be believed; None for all.
        groups: (N,) integers, equal for rollouts of one prompt; None for one group.
        scale: Divisor of the centred return.
        eps: Added to the divisor.
        singleton: What a group of one gets.

    Returns:
        (N,) advantages, 0 where masked.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: DeepSeekMath (arXiv 2402.03300) eq. 3 of section 4.1.1; `scale="none"` is Dr.GRPO
    (arXiv 2503.20783). Trap: a factor that a whole group shares is divided out again, so weights
    of groups belong after it; released code gives a group of one its raw return (`singleton`).
    """
    scale, singleton = Scale(scale), Singleton(singleton)

    def kernel(group: Floats) -> Floats:
        if group.size == 1 and singleton is Singleton.RAW:
            return group / (1.0 + eps) if scale is not Scale.NONE else group
        return _divide(_centre(group), scale, eps)

    return _by_group(kernel, returns, mask, groups)


def dr_grpo(
    returns: ArrayLike, mask: ArrayLike | None = None, *, groups: ArrayLike | None = None
) -> Floats:
    """Return minus group mean, not divided by anything.

    Its other half is a constant loss divisor: `aggregate.Mode.SEQ_MEAN_TOKEN_SUM_NORM`.

    Args:
        returns: (N,) one scalar per rollout.
        mask: (N,) True where the return may be believed; None for all.
        groups: (N,) integers, equal for rollouts of one prompt; None for one group.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: arXiv 2503.20783, section 3.2. Trap: with a mean over each attempt's own tokens instead
    of a constant divisor, long wrong attempts are punished less a token than short ones.
    """
    return _by_group(_centre, returns, mask, groups)


def rloo(
    returns: ArrayLike, mask: ArrayLike | None = None, *, groups: ArrayLike | None = None
) -> Floats:
    """Return minus the mean of the *other* members; G/(G-1) times `dr_grpo`.

    Args:
        returns: (N,) one scalar per rollout.
        mask: (N,) True where the return may be believed; None for all.
        groups: (N,) integers, equal for rollouts of one prompt; None for one group.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: arXiv 2402.14740 eq. 5. Trap: larger than `dr_grpo` by G/(G-1), so that learning rates
    do not carry over between small groups.
    """

    def kernel(group: Floats) -> Floats:
        return _centre(group) * (group.size / max(group.size - 1, 1))

    return _by_group(kernel, returns, mask, groups)


def reinforce_pp_baseline(
    returns: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    eps: float = 1e-8,
) -> Floats:
    """Return minus group mean, then divided by the deviation (n-1) of the whole batch.

    The batch mean of group-centred returns is 0 already, so nothing more is subtracted and dead
    groups stay exactly 0. Deviations count rollouts; trainers that whiten over tokens weight
    long rollouts more.

    Args:
        returns: (N,) one scalar per rollout.
        mask: (N,) True where the return may be believed; None for all.
        groups: (N,) integers, equal for rollouts of one prompt; None for one group.
        eps: Added to the variance, inside the root.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: REINFORCE++ (arXiv 2501.03262), the variant with a group baseline. Trap: it needs the
    whole batch; a rule of a blend sees one group, so recipes name it as their estimator only.
    """
    _, believed, _ = _checked(returns, mask, groups)
    centred = _by_group(_centre, returns, mask, groups)
    count = int(believed.sum())
    if count < 2:
        return centred
    variance = float(np.square(centred[believed]).sum()) / (count - 1)
    return centred / np.sqrt(variance + eps) if variance + eps > 0 else centred


def dead_groups(
    returns: ArrayLike, mask: ArrayLike | None = None, *, groups: ArrayLike | None = None
) -> Bools:
    """Whether each rollout's group carries no signal: fewer than two believed, or all equal.

    Returns:
        (N,) True for rollouts of dead groups; the collector refills these.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: dynamic sampling of DAPO (arXiv 2503.14476) section 3.2.
    """
    values, believed, labels = _checked(returns, mask, groups)
    dead = np.zeros(values.shape, bool)
    for label in np.unique(labels):
        members = labels == label
        seen = values[members & believed]
        dead[members] = seen.size < 2 or seen.min() == seen.max()
    return dead


def group_baseline(
    returns: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    center: bool = True,
    scale: Scale | str = Scale.STD,
    baseline: Baseline | str = Baseline.MEAN,
    eps: float = EPS,
    singleton: Singleton | str = Singleton.ZERO,
    least: int = 2,
) -> Floats:
    """The general form of the group kernels: choose the baseline and the divisor.

    Args:
        returns: (N,) one scalar per rollout.
        mask: (N,) True where the return may be believed; None for all.
        groups: (N,) integers, equal for rollouts of one prompt; None for one group.
        center: Whether a baseline is subtracted at all.
        scale: Divisor of the centred return.
        baseline: Mean of all believed members, or of the others.
        eps: Added to the divisor.
        singleton: What a group of one gets.
        least: Groups with fewer believed members than so many get 0; 1 admits singletons.

    Raises:
        AdvantageError: A believed return is not finite, or shapes differ.

    Source: component E1 (GRPO, Dr.GRPO, RLOO); `least` is CM2's smallest count of holders.
    """
    scale, baseline, singleton = Scale(scale), Baseline(baseline), Singleton(singleton)

    def kernel(group: Floats) -> Floats:
        alone = group.size == 1
        if group.size < least and not (alone and singleton is Singleton.RAW):
            return np.zeros_like(group)
        if alone and singleton is Singleton.RAW:
            return group / (1.0 + eps) if scale is not Scale.NONE else group
        centred = _centre(group)
        if baseline is Baseline.OTHERS:
            centred = centred * (group.size / max(group.size - 1, 1))
        if center:
            return _divide(centred, scale, eps)
        return _over_deviation(group, scale, eps)

    return _by_group(kernel, returns, mask, groups)


ESTIMATORS: dict[str, Callable[..., Floats]] = {
    "grpo": group_norm,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp_baseline": reinforce_pp_baseline,
}
"""Kernels of the form f(returns, mask=None, *, groups=None, **options)."""


def _by_group(
    kernel: Callable[[Floats], Floats],
    returns: ArrayLike,
    mask: ArrayLike | None,
    groups: ArrayLike | None,
) -> Floats:
    values, believed, labels = _checked(returns, mask, groups)
    out = np.zeros_like(values)
    for label in np.unique(labels[believed]):
        members = believed & (labels == label)
        out[members] = kernel(values[members])
    return out


def _centre(group: Floats) -> Floats:
    # The mean of equal floats need not equal them: 0.1 three times has mean 0.10000000000000002.
    if group.min() == group.max():
        return np.zeros_like(group)
    return group - group.mean()


def _divide(centred: Floats, scale: Scale, eps: float) -> Floats:
    if scale is Scale.NONE or centred.size < 2 or not centred.any():
        return centred
    degrees = centred.size - (scale is Scale.STD)
    return centred / (np.sqrt(np.square(centred).sum() / degrees) + eps)


def _over_deviation(group: Floats, scale: Scale, eps: float) -> Floats:
    if scale is Scale.NONE or group.size < 2:
        return group
    degrees = group.size - (scale is Scale.STD)
    deviation = np.sqrt(np.square(_centre(group)).sum() / degrees)
    # Equal returns over the guard alone would be a million times themselves.
    return group / (deviation + eps) if deviation > eps else np.zeros_like(group)


def _checked(
    returns: ArrayLike, mask: ArrayLike | None, groups: ArrayLike | None
) -> tuple[Floats, Bools, NDArray[Any]]:
    values = np.asarray(returns, np.float64)
    if values.ndim != 1:
        raise AdvantageError(f"returns must be one row of numbers, got shape {values.shape}")
    believed = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    labels = np.zeros(values.shape, np.int64) if groups is None else np.asarray(groups)
    for name, array in (("mask", believed), ("groups", labels)):
        if array.shape != values.shape:
            raise AdvantageError(f"{name} must have shape {values.shape}, got {array.shape}")
    bad = np.flatnonzero(believed & ~(np.abs(values) <= MAX_RETURN))
    if bad.size:
        raise AdvantageError(
            f"return {bad[0]} is {values[bad[0]]}, expected a finite number; mask failed "
            "rollouts out instead of scoring them"
        )
    return values, believed, labels
