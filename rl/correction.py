"""Importance correction: the policy that sampled is not quite the one that learns.

The engine that samples and the learner compute log-probs with other kernels, or the weights have
moved since. Each token's surrogate is multiplied with a bounded ratio of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from vtool.errors import VToolError

from .aggregate import Denominators
from .kl import LOG_RATIO_LIMIT
from .sequences import sequence_sum


class Level(StrEnum):
    """What has one importance weight."""

    NONE = "none"
    """Nothing: ratios are taken against the recorded log-probs themselves, which then carry
    the mismatch."""
    TOKEN = "token"
    """A token: biased, of small variance (TIS)."""
    SEQUENCE = "sequence"
    """A sequence, the product of its tokens': unbiased, of large variance."""


@dataclass(frozen=True, slots=True)
class CorrectionSpec:
    """How the mismatch is corrected.

    Args:
        level: What has one weight. Other than ``none``, the surrogate's ratio is taken against
            the learner's own log-probs at the start of the step.
        cap: Largest weight (CM2: 2).
        floor: Where given, weights outside [floor, cap] count 0 instead of being cut (IcePop).
        veto: Where given, a sequence with a token below it counts 0 altogether (CM2: 1e-4).

    Source: TIS (truncated importance sampling) as in CM2 and released trainers.
    """

    level: Level = Level.NONE
    cap: float = 2.0
    floor: float | None = None
    veto: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", Level(self.level))
        low = 0.0 if self.floor is None else self.floor
        if not 0 <= low < self.cap or not (self.veto is None or 0 < self.veto < 1):
            raise VToolError(
                "correction needs 0 <= floor < cap and a veto in (0, 1), got "
                f"floor={self.floor}, cap={self.cap}, veto={self.veto}"
            )


def importance_weight(
    logp: Tensor,
    behaviour_logp: Tensor,
    *,
    sequence: Tensor,
    denominators: Denominators,
    spec: CorrectionSpec,
) -> Tensor:
    """(n,) constant weights of the tokens at hand.

    Args:
        logp: (n,) by the learner, under the weights at the start of the step.
        behaviour_logp: (n,) as recorded when the tokens were sampled.
        sequence: (n,) int64 index of each token's sequence.
        denominators: Of the whole batch; a sequence level needs whole sequences.
        spec: How.

    Source: released trainers' rollout correction (token and sequence TIS, IcePop).
    """
    with torch.no_grad():
        raw = logp - behaviour_logp
        if spec.level is Level.NONE:
            return torch.ones_like(raw)
        told = raw
        if spec.level is Level.SEQUENCE:
            told = sequence_sum(raw, sequence, denominators)[sequence]
        weight = told.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
        if spec.floor is None:
            weight = weight.clamp(max=spec.cap)
        else:
            weight = weight * ((weight >= spec.floor) & (weight <= spec.cap))
        if spec.veto is not None:
            far = (raw < torch.tensor(spec.veto).log().to(raw)).to(raw.dtype)
            gone = sequence_sum(far, sequence, denominators)[sequence] > 0
            weight = weight * ~gone
        return weight
