"""Advantages on a tree of steps, where siblings share everything but their last choice.

A tree is an array of parents: step i follows step `parent[i]`, which comes before it; -1 marks
a first step. First steps are siblings of one another (their parent is the prompt). A leaf ends
one trajectory, and holds its return.

Source: PORTool, tree rollouts with per-step rewards and fork-relative advantages.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .advantage import AdvantageError, Bools, Floats, Scale, group_norm

Ints = NDArray[np.int64]


class Pool(StrEnum):
    """How the trajectories through a step become the value of the step."""

    MEAN = "mean"
    MAX = "max"


def depths(parent: ArrayLike) -> Ints:
    """Depth of each step, 1 for first steps.

    Raises:
        AdvantageError: A step does not come after its parent.
    """
    up = np.asarray(parent, np.int64)
    out = np.ones(up.shape, np.int64)
    for i, p in enumerate(up):
        if not -1 <= p < i:
            raise AdvantageError(f"step {i} must follow its parent, but names {p}; use -1 for none")
        if p >= 0:
            out[i] = out[p] + 1
    return out


def leaves(parent: ArrayLike) -> Bools:
    """(S,) True for steps that nothing follows."""
    up = np.asarray(parent, np.int64)
    out = np.ones(up.shape, bool)
    out[up[up >= 0]] = False
    return out


def format_bound(gamma: float, max_turns: int) -> float:
    """Largest step bonus that leaves the outcome in command: gamma^T / 2."""
    return 0.5 * gamma**max_turns


def step_values(
    parent: ArrayLike,
    returns: ArrayLike,
    *,
    gamma: float,
    pool: Pool | str = Pool.MEAN,
    bonus: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Floats:
    """Discounted outcome of the trajectories through each step, pooled.

    Args:
        parent: (S,) index of the step before, -1 for first steps.
        returns: (S,) outcome, read at leaves only.
        gamma: Discount per step between a step and the end of a trajectory.
        pool: Mean or maximum over the trajectories through a step.
        bonus: (S,) added to the step's own value (format); see `format_bound`.
        mask: (S,) read at leaves only; False where a trajectory failed for our reasons.

    Returns:
        (S,) values; NaN for a step through which no believed trajectory runs.

    Raises:
        AdvantageError: The tree is out of order, or a believed outcome is not finite.
    """
    up, depth = np.asarray(parent, np.int64), depths(parent)
    outcome, believed = _outcomes(up, returns, mask)
    paths: list[list[float]] = [[] for _ in up]
    for leaf in np.flatnonzero(believed):
        step = int(leaf)
        while step >= 0:
            paths[step].append(outcome[leaf] * gamma ** int(depth[leaf] - depth[step]))
            step = int(up[step])
    fold = max if Pool(pool) is Pool.MAX else np.mean
    values = np.array([fold(p) if p else np.nan for p in paths], np.float64)
    return values if bonus is None else values + np.asarray(bonus, np.float64)


def fork_relative(
    parent: ArrayLike, values: ArrayLike, *, scale: Scale | str = Scale.NONE
) -> Floats:
    """Value of each step against its siblings'.

    Siblings sum to 0, an only child gets 0, and so does a step without a value (NaN).

    Args:
        parent: (S,) index of the step before, -1 for first steps.
        values: (S,) from `step_values`.
        scale: Divisor among siblings.
    """
    array = np.asarray(values, np.float64)
    return group_norm(array, ~np.isnan(array), groups=parent, scale=scale)


def trajectory_relative(
    parent: ArrayLike,
    returns: ArrayLike,
    *,
    scale: Scale | str = Scale.STD,
    mask: ArrayLike | None = None,
) -> Floats:
    """Outcome against all trajectories of the tree; a shared step gets the mean of its own.

    Args:
        parent: (S,) index of the step before, -1 for first steps.
        returns: (S,) outcome, read at leaves only.
        scale: Divisor among trajectories.
        mask: (S,) read at leaves only.

    Returns:
        (S,) one number per step, 0 where no believed trajectory runs.
    """
    up = np.asarray(parent, np.int64)
    outcome, believed = _outcomes(up, returns, mask)
    relative = group_norm(outcome, believed, scale=scale)
    values = step_values(up, relative, gamma=1.0, mask=believed)
    return np.where(np.isnan(values), 0.0, values)


def blend(fork: ArrayLike, trajectory: ArrayLike, weight: float) -> Floats:
    """`weight` of the first and the rest of the second; 1 and 0 give either back unchanged.

    Raises:
        AdvantageError: The weight lies outside [0, 1], or shapes differ.
    """
    a, b = np.asarray(fork, np.float64), np.asarray(trajectory, np.float64)
    if a.shape != b.shape or not 0.0 <= weight <= 1.0:
        raise AdvantageError(
            f"expected equal shapes and a weight in [0, 1], got {a.shape}, {b.shape}, {weight}"
        )
    return weight * a + (1.0 - weight) * b


def _outcomes(up: Ints, returns: ArrayLike, mask: ArrayLike | None) -> tuple[Floats, Bools]:
    outcome = np.asarray(returns, np.float64)
    believed = leaves(up) & (True if mask is None else np.asarray(mask, bool))
    if outcome.shape != up.shape or believed.shape != up.shape:
        raise AdvantageError(f"expected one number per step, shape {up.shape}, got {outcome.shape}")
    bad = np.flatnonzero(believed & ~np.isfinite(outcome))
    if bad.size:
        raise AdvantageError(f"the outcome at leaf {bad[0]} is {outcome[bad[0]]}: mask it out")
    return outcome, believed
