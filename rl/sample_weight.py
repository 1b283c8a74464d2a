"""How much a group counts: weights of samples that come from the group's own returns.

A weight that is equal for a whole group has an effect only where nothing divides it out again:
multiplied onto the returns *before* an estimator that divides by the group's deviation, it
cancels (up to the guard in the divisor). So the default is to weigh the advantages afterwards,
and the combination that does nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vtool.errors import RecipeError

from .advantage import ESTIMATORS, Floats, Scale


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
        name: ``difficulty``, or None for none.
        placement: What the weight is multiplied onto.
        options: Of the weight.
    """

    name: str | None = None
    placement: Placement = Placement.AFTER
    options: Mapping[str, Any] = field(default_factory=dict)


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

    Source: VITAL (DGRPO), sample-level difficulty.
    """
    values = np.asarray(returns, np.float64)
    believed = np.ones(values.shape, bool) if mask is None else np.asarray(mask, bool)
    if not believed.any():
        return 1.0
    hard = min(1.0, max(0.0, top - float(values[believed].mean())))
    return hard * (1.0 - floor) + floor


WEIGHTS: dict[str, Callable[..., float]] = {"difficulty": difficulty}
"""Weights of the form f(returns, mask=None, **options), of one group."""


def weighted_advantages(
    returns: Floats,
    believed: ArrayLike,
    estimator: str,
    options: Mapping[str, Any],
    weight: WeightSpec,
) -> Floats:
    """Advantages of one group, weighted.

    Args:
        returns: (N,) one scalar per rollout.
        believed: (N,) True where the return may be believed.
        estimator: Name of the kernel.
        options: Of the kernel.
        weight: Whether and how the group is weighted.

    Returns:
        (N,) advantages, 0 where not believed.
    """
    kernel = ESTIMATORS[estimator]
    if weight.name is None:
        return kernel(returns, believed, **options)
    factor = WEIGHTS[weight.name](returns, believed, **weight.options)
    if weight.placement is Placement.BEFORE:
        return kernel(np.asarray(returns) * factor, believed, **options)
    return kernel(returns, believed, **options) * factor


def check_placement(estimator: str, options: Mapping[str, Any], weight: WeightSpec) -> None:
    """Refuse a weight that the estimator would divide out again.

    Raises:
        RecipeError: A group-constant factor on the returns of an estimator that divides by the
            group's deviation.
    """
    divides = estimator == "grpo" and Scale(options.get("scale", Scale.STD)) is not Scale.NONE
    if weight.name and weight.placement is Placement.BEFORE and divides:
        raise RecipeError(
            f"weight.placement=before does nothing under estimator {estimator}: the group's "
            "deviation is multiplied too and divides it out; use placement=after, or dr_grpo, "
            "rloo, or estimator_options={scale: none}"
        )
