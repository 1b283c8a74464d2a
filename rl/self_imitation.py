"""Self-imitation: learning again from one's own good attempts, by a loss of their own.

What the buffer keeps is the collector's matter; here is what its entries are worth now
(`recalibrate`), how much they count at a step (`ReplaySpec.weight`), and the loss that they get.

Source: SPEAR ("Learn the Ropes, Then Trust the Wins"), self-imitation with recalibrated
advantages and covariance clipping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from vtool.errors import VToolError

from .advantage import Bools, Floats
from .loss_spec import CovSpec, LossSpec, Objective


def replay_loss() -> LossSpec:
    """The loss of replayed tokens as published: dual clip 10, Clip-Cov .02 in [2, 60]."""
    return LossSpec(
        objective=Objective.CLIP_COV,
        clip_low=0.2,
        clip_high=0.28,
        dual_clip=10.0,
        cov=CovSpec(ratio=0.02, low=2.0, high=60.0),
    )


@dataclass(frozen=True, slots=True)
class ReplaySpec:
    """How replayed samples are learnt from.

    Args:
        loss: Their own loss.
        warmup: Steps over which their weight rises from 0 to `weight_end` along a half cosine;
            0 for full weight from the start.
        weight_end: Their weight thereafter.
    """

    loss: LossSpec = field(default_factory=replay_loss)
    warmup: int = 200
    weight_end: float = 1.0

    def weight(self, step: int) -> float:
        """Weight of the replay loss at a step, counted from 0."""
        if self.warmup < 1 or step >= self.warmup:
            return self.weight_end
        return self.weight_end * 0.5 * (1.0 - math.cos(math.pi * step / self.warmup))


def recalibrate(
    returns: ArrayLike, recent_means: Sequence[float], *, quantile: float = 0.5
) -> tuple[Floats, Bools]:
    """What stored attempts are worth against what the policy reaches today.

    Args:
        returns: (N,) of the stored attempts.
        recent_means: Mean returns of recent groups; the newest history.
        quantile: Which of them is the baseline; 0.5 is the published p50.

    Returns:
        (N,) returns minus the baseline, and (N,) which attempts are kept: those not below 0.

    Raises:
        VToolError: No history, or numbers that are not finite.
    """
    values, means = np.asarray(returns, np.float64), np.asarray(recent_means, np.float64)
    if not means.size or not np.isfinite(means).all() or not np.isfinite(values).all():
        raise VToolError(
            f"recalibration needs finite returns and at least one recent mean, got {means.size}"
        )
    advantage = values - np.quantile(means, quantile)
    return advantage, advantage >= 0


def fill_size(kept: int, limit: int) -> int:
    """The largest power of two that neither the kept entries nor the limit fall short of."""
    most = min(kept, limit)
    return 1 << (most.bit_length() - 1) if most > 0 else 0
