"""Kernels that look inside a rollout: returns from a step on, equal situations, length.

Same promises as in `advantage`; the unit here is the step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .advantage import AdvantageError, Floats, Scale, group_norm


def _finite(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if array.ndim != 1 or bad.size:
        where = f"{array[bad[0]]} at {bad[0]}" if array.ndim == 1 else f"shape {array.shape}"
        raise AdvantageError(f"{name} must be one row of finite numbers, got {where}")
    return array


def discounted_returns(rewards: ArrayLike, gamma: float) -> Floats:
    """Return from each step of one rollout on: r_t + gamma r_{t+1} + ...

    Args:
        rewards: (T,) reward of each step.
        gamma: Discount per step, in [0, 1].

    Raises:
        AdvantageError: A reward is not finite, or `gamma` lies outside [0, 1].
    """
    out = _finite(rewards, "rewards").copy()
    if not 0.0 <= gamma <= 1.0:
        raise AdvantageError(f"gamma must lie in [0, 1], got {gamma}")
    for t in range(len(out) - 2, -1, -1):
        out[t] += gamma * out[t + 1]
    return out


def gigpo(
    episode: ArrayLike,
    step_returns: ArrayLike,
    anchors: ArrayLike,
    *,
    weight: float = 1.0,
    scale: Scale | str = Scale.STD,
) -> Floats:
    """Episode advantage plus `weight` times the advantage among equal situations.

    Args:
        episode: (S,) episode-level advantage of the rollout that each step belongs to.
        step_returns: (S,) discounted return from each step on (see `discounted_returns`).
        anchors: (S,) integers, equal where steps of one prompt start from the same observation.
        weight: Of the step term.
        scale: Divisor inside an anchor group.

    Returns:
        (S,) one advantage per step. A situation seen once adds 0.

    Raises:
        AdvantageError: Shapes differ, or a number is not finite.

    Source: GiGPO (arXiv 2505.10978) eq. 8.
    """
    base = _finite(episode, "episode advantages")
    step = group_norm(step_returns, groups=anchors, scale=scale)
    if base.shape != step.shape:
        raise AdvantageError(f"expected one number per step each, got {base.shape}, {step.shape}")
    return base + weight * step


def soft_overlong(lengths: ArrayLike, limit: int, buffer: int, factor: float = 1.0) -> Floats:
    """Penalty that grows from 0 to `-factor` over the last `buffer` tokens before `limit`.

    Args:
        lengths: (N,) response lengths in tokens.
        limit: Length at which the full penalty holds.
        buffer: Width of the ramp, in tokens.
        factor: Full penalty.

    Raises:
        AdvantageError: The buffer is not within (0, limit].

    Source: DAPO (arXiv 2503.14476) eq. 13.
    """
    if not 0 < buffer <= limit:
        raise AdvantageError(f"the buffer must lie in (0, {limit}] tokens, got {buffer}")
    over = np.asarray(lengths, np.float64) - (limit - buffer)
    return -factor * np.clip(over / buffer, 0.0, 1.0)
