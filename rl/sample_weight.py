"""How much a group counts: weights of samples that come from the group's own returns.

A weight that is equal for a whole group has an effect only where nothing divides it out again:
multiplied onto the returns *before* an estimator that divides by the group's deviation, it
cancels (up to the guard in the divisor). So the default is to weigh the advantages afterwards,
and the combination that does nothing is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vtool.errors import RecipeError

from .advantage import ESTIMATORS, Floats


class Placement(StrEnum):
    """What a weight is multiplied onto."""

    AFTER = "after"
    """The advantages."""
    BEFORE = "before"
    """The returns, as VITAL prints it; for estimators that divide by no deviation."""


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """Whether and how groups are weighted.

    Args:
        name: ``difficulty``, ``rank_aware``, or None for none.
        placement: What the weight is multiplied onto.
        options: Of the weight.
    """

    name: str | None = None
    placement: Placement = Placement.AFTER
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "placement", Placement(self.placement))


def difficulty(
    returns: ArrayLike, mask: ArrayLike | None = None, *, top: float = 2.0, floor: float = 0.5
) -> float:
    """Weight of a group by how far its mean return lies below the top: DGRPO.

    ``w = clamp(top - D, 0, 1) * (1 - floor) + floor`` with D the mean of the believed returns, so
    that groups which are nearly solved (outcome, format and tool parts all earned) count half.

    Args:
        returns: (N,) of one group.
        mask: (N,) True where the return may be believed; None for all.
        top: Mean return from which a group is as easy as can be.
        floor: Weight of the easiest group.

    Returns:
        A weight in [floor, 1]; 1 for a group of which nothing is believed.

    Source: VITAL (DGRPO), sample-level difficulty. Trap: multiplied onto the returns, as the paper
    prints it, it is divided out by every rule that scales by the group (`placement: after`).
    """
    values = np.asarray(returns, np.float64)
    believed = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    if not believed.any():
        return 1.0
    hard = min(1.0, max(0.0, top - float(values[believed].mean())))
    return hard * (1.0 - floor) + floor


def rank_aware(
    returns: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    logp: ArrayLike,
    gamma: float = 1.0,
) -> Floats:
    """Weight of each rollout: more where the policy finds a worse one likelier.

    ``1 + gamma`` if some believed rollout has a smaller return and a larger mean log-prob, else
    1. The paper's gamma is not known; 0 gives back what would be without the weight.

    Args:
        returns: (N,) of one group.
        mask: (N,) True where the return may be believed; None for all.
        logp: (N,) mean log-prob of each rollout's policy tokens, as it was sampled.
        gamma: What is added.

    Returns:
        (N,) weights; 1 where not believed.

    Source: RAPO (TableMind), the form proposed for it; marked as uncertain. Trap: likelihoods are
    those of the policy that sampled, a mean over tokens, so that long attempts are not unlikely.
    """
    values, likely = np.asarray(returns, np.float64), np.asarray(logp, np.float64)
    believed = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    worse = (values[:, None] > values[None, :]) & believed[:, None] & believed[None, :]
    return 1.0 + gamma * (worse & (likely[:, None] < likely[None, :])).any(axis=1)


WEIGHTS: dict[str, Callable[..., Any]] = {"difficulty": difficulty, "rank_aware": rank_aware}
"""Weights of the form f(returns, mask=None, **options) of one group: one number, or (N,); those
with an argument `logp` are told the rollouts' mean log-probs."""


def factors(
    returns: Floats, believed: ArrayLike, weight: WeightSpec, logp: ArrayLike | None = None
) -> Floats:
    """(N,) what each rollout of a group is multiplied with.

    Args:
        returns: (N,) one scalar per rollout.
        believed: (N,) True where the return may be believed.
        weight: Which weight.
        logp: (N,) mean log-prob of each rollout, for weights that ask for it.

    Raises:
        RecipeError: The weight needs log-probs, and there are none.
    """
    if weight.name is None:
        return np.ones(len(returns))
    fn, known = WEIGHTS[weight.name], {}
    if "logp" in inspect.signature(fn).parameters:
        if logp is None:
            raise RecipeError(f"weight {weight.name} needs the rollouts' log-probs")
        known["logp"] = logp
    return np.ones(len(returns)) * fn(returns, believed, **known, **weight.options)


def weighted_advantages(
    returns: Floats,
    believed: ArrayLike,
    estimator: str,
    options: Mapping[str, Any],
    weight: WeightSpec,
    logp: ArrayLike | None = None,
) -> Floats:
    """Advantages of one group, weighted.

    Args:
        returns: (N,) one scalar per rollout.
        believed: (N,) True where the return may be believed.
        estimator: Name of the kernel.
        options: Of the kernel.
        weight: Whether and how the group is weighted.
        logp: (N,) mean log-prob of each rollout, for weights that ask for it.

    Returns:
        (N,) advantages, 0 where not believed.
    """
    kernel = ESTIMATORS[estimator]
    if weight.name is None:
        return kernel(returns, believed, **options)
    factor = factors(returns, believed, weight, logp)
    if weight.placement is Placement.BEFORE:
        return kernel(np.asarray(returns) * factor, believed, **options)
    return kernel(returns, believed, **options) * factor
