"""What a loss is, as frozen data: objective, bounds, covariance, correction, KL, entropy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from vtool.errors import VToolError

from .correction import CorrectionSpec
from .kl import KL_ESTIMATORS


class LossError(VToolError, ValueError):
    """Tensors or settings that make no loss."""


class Objective(StrEnum):
    """What is clipped, and what the gradient flows through."""

    PPO = "ppo"
    """Token ratio, pessimistic of clipped and unclipped. Source: arXiv 1707.06347 eq. 7; dual
    clip arXiv 1912.09729 eq. 5; separate bounds DAPO arXiv 2503.14476 eq. 10. Trap: without a dual
    clip the loss of a token with negative advantage grows with its ratio without bound."""
    GSPO = "gspo"
    """One ratio per sequence, the geometric mean of its tokens'; so is its gradient.
    Source: arXiv 2507.18071 eq. 5-7. Trap: needs whole sequences, their mean as aggregation, and
    bounds a hundred times closer than a token's (3e-4 and 4e-4 there)."""
    GSPO_TOKEN = "gspo_token"
    """The sequence's ratio as a value, the gradient through the token's own log-prob: the form
    for advantages that differ inside a sequence; equal to ``gspo`` where they do not.
    Source: arXiv 2507.18071 eq. 13-14; released trainers call this form gspo. Trap: as gspo."""
    CISPO = "cispo"
    """Clipped ratio as a constant weight of log pi: no token ever loses its gradient.
    Source: MiniMax-M1, arXiv 2506.13585 eq. 4. Trap: the paper sets no lower bound in effect, nor
    does TRL, and verl does; `clip_low: 1` is none."""
    CLIP_COV = "clip_cov"
    """``ppo``, and a few tokens of high covariance lose their loss.
    Source: arXiv 2505.22617, Clip-Cov. Trap: covariances are those of the micro-batch at hand."""
    KL_COV = "kl_cov"
    """Unclipped token ratio, and the tokens of highest covariance pay for their distance from
    the old policy. Source: arXiv 2505.22617, KL-Cov. Trap: nothing is clipped, so that only the
    picked tokens are held back."""

    @property
    def by_sequence(self) -> bool:
        """Whether its ratio belongs to whole sequences."""
        return self in (Objective.GSPO, Objective.GSPO_TOKEN)


class Band(StrEnum):
    """Where the lower bound of the ratio lies."""

    LINEAR = "linear"
    """[1 - low, 1 + high]."""
    LOG = "log"
    """[1 / (1 + low), 1 + high], symmetric for the log-ratio (LOOP, arXiv 2502.01600)."""


class KLPlace(StrEnum):
    """Where the KL to the reference is charged."""

    LOSS = "loss"
    """As a term of the loss, with gradient (GRPO)."""
    REWARD = "reward"
    """As a price on each sampled token: its credit loses the KL of itself and of all tokens
    after it (PPO, REINFORCE++). Measured once, on the sampled log-probs."""


@dataclass(frozen=True, slots=True)
class CovSpec:
    """Which tokens the covariance objectives pick; statistics are those of the tokens at hand.

    Args:
        ratio: Share of the tokens that is picked, rounded down, at least one.
        low: Clip-Cov draws among tokens whose covariance lies above it,
        high: and below it.
        coef: KL-Cov's price of a picked token's |log-ratio|.
    """

    ratio: float = 2e-4
    low: float = 1.0
    high: float = 5.0
    coef: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1 or not self.low < self.high or not self.coef >= 0:
            raise LossError(
                "cov needs 0 < ratio <= 1, low < high and coef >= 0, got "
                f"{self.ratio}, {self.low}, {self.high}, {self.coef}"
            )


@dataclass(frozen=True, slots=True)
class LossSpec:
    """Settings of the loss.

    Args:
        objective: What is clipped.
        clip_low: Distance of the lower bound from 1.
        clip_high: Distance of the upper bound from 1.
        dual_clip: Bound c > 1 on the loss of tokens with negative advantage, -c A; None for off.
            Not used by CISPO and KL-Cov.
        band: Where the lower bound lies.
        kl: Name of the KL estimator.
        kl_coef: Weight of the KL term.
        kl_in: Whether the KL is a term of the loss or a price in the reward.
        entropy_coef: Weight of the entropy bonus.
        cov: Of the objectives clip_cov and kl_cov.
        correction: Importance correction for log-probs of another engine or older weights.

    Raises:
        LossError: A bound that is no bound, or an unknown estimator.
    """

    objective: Objective = Objective.PPO
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = 3.0
    band: Band = Band.LINEAR
    kl: str = "k3"
    kl_coef: float = 0.0
    kl_in: KLPlace = KLPlace.LOSS
    entropy_coef: float = 0.0
    cov: CovSpec = field(default_factory=CovSpec)
    correction: CorrectionSpec = field(default_factory=CorrectionSpec)

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", Objective(self.objective))
        object.__setattr__(self, "band", Band(self.band))
        object.__setattr__(self, "kl_in", KLPlace(self.kl_in))
        if self.clip_low < 0 or self.clip_high < 0 or (self.dual_clip or 2.0) <= 1:
            raise LossError(
                "expected clip_low and clip_high >= 0 and dual_clip > 1 or None, got "
                f"{self.clip_low}, {self.clip_high}, {self.dual_clip}"
            )
        if self.kl not in KL_ESTIMATORS:
            raise LossError(f"unknown KL estimator {self.kl!r}; known: {', '.join(KL_ESTIMATORS)}")

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest ratio that keeps its gradient."""
        low = 1 - self.clip_low if self.band is Band.LINEAR else 1 / (1 + self.clip_low)
        return low, 1 + self.clip_high

    @property
    def kl_in_loss(self) -> float:
        """Weight of the KL term of the loss."""
        return self.kl_coef if self.kl_in is KLPlace.LOSS else 0.0
