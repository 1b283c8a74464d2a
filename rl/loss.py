"""The policy loss over policy tokens only.

Tokens come flat, and already selected: what the policy did not write is not here, so it cannot
enter the loss, the KL, the entropy, a ratio mean or any metric. Which sequence a token belongs
to is told by `sequence`; how sequences are weighted, by `Denominators` of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from vtool.errors import VToolError

from .aggregate import Denominators, Mode, aggregate, check_known
from .kl import KL_ESTIMATORS, LOG_RATIO_LIMIT, k3


class LossError(VToolError, ValueError):
    """Tensors or settings that make no loss."""


class Objective(StrEnum):
    """What is clipped, and what the gradient flows through."""

    PPO = "ppo"
    """Token ratio, pessimistic of clipped and unclipped. Source: arXiv 1707.06347 eq. 7; dual
    clip arXiv 1912.09729 eq. 5; separate bounds DAPO arXiv 2503.14476 eq. 10."""
    GSPO = "gspo"
    """One ratio per sequence, the geometric mean of its tokens'. Source: arXiv 2507.18071."""
    CISPO = "cispo"
    """Clipped ratio as a constant weight of log pi: no token ever loses its gradient.
    Source: MiniMax-M1, arXiv 2506.13585 eq. 4."""


class Band(StrEnum):
    """Where the lower bound of the ratio lies."""

    LINEAR = "linear"
    """[1 - low, 1 + high]."""
    LOG = "log"
    """[1 / (1 + low), 1 + high], symmetric for the log-ratio (LOOP, arXiv 2502.01600)."""


@dataclass(frozen=True, slots=True)
class LossSpec:
    """Settings of the loss.

    Args:
        objective: What is clipped.
        clip_low: Distance of the lower bound from 1.
        clip_high: Distance of the upper bound from 1.
        dual_clip: Bound c > 1 on the loss of tokens with negative advantage, -c A; None for off.
            Not used by CISPO.
        band: Where the lower bound lies.
        kl: Name of the KL estimator.
        kl_coef: Weight of the KL term.
        entropy_coef: Weight of the entropy bonus.

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
    entropy_coef: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", Objective(self.objective))
        object.__setattr__(self, "band", Band(self.band))
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


@dataclass(frozen=True, slots=True)
class LossReport:
    """A loss, and what there is to say about it."""

    value: Tensor
    """Scalar; call `backward` on it. Micro-batches of one batch add up."""
    metrics: dict[str, float]
    """Means over the tokens at hand, their count under `tokens`; see `merge_metrics`."""


def policy_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantage: Tensor,
    *,
    sequence: Tensor,
    denominators: Denominators,
    spec: LossSpec | None = None,
    entropy: Tensor | None = None,
    ref_logp: Tensor | None = None,
    recomputed_logp: Tensor | None = None,
    weight: Tensor | None = None,
) -> LossReport:
    """Clipped surrogate + KL - entropy over the policy tokens of a (micro-)batch.

    Args:
        logp: (n,) log-probs under the weights being trained, with gradient.
        old_logp: (n,) under the weights that the ratio is taken against, without.
        advantage: (n,) per token.
        sequence: (n,) int64 index of each token's sequence in the whole batch.
        denominators: Of the whole batch.
        spec: Settings.
        entropy: (n,) of the policy at each token; only reported where `entropy_coef` is 0.
        ref_logp: (n,) under the reference; only reported where `kl_coef` is 0.
        recomputed_logp: (n,) by the learner, under the weights that sampled; adds the `mismatch`
            metrics, KL(record || recomputed), where `old_logp` is the record.
        weight: (n,) constant factor of each token's surrogate (importance correction, replay,
            covariance clipping).

    Returns:
        The loss and its metrics. Without tokens: 0, connected to `logp`.

    Raises:
        LossError: Shapes differ, a number is not finite, a coefficient lacks its tensor, or
            GSPO gets torn sequences or another aggregation than its own.
        AggregateError: A sequence that the denominators do not know.
    """
    spec = spec or LossSpec()
    given = {"old_logp": old_logp, "advantage": advantage, "sequence": sequence}
    optional = {"entropy": entropy, "ref_logp": ref_logp, "recomputed_logp": recomputed_logp}
    optional["weight"] = weight
    _check(logp, given | {k: v for k, v in optional.items() if v is not None}, spec)
    if spec.objective is Objective.GSPO and denominators.mode is not Mode.SEQ_MEAN_TOKEN_MEAN:
        raise LossError(
            f"gspo is defined under {Mode.SEQ_MEAN_TOKEN_MEAN}, not {denominators.mode}"
        )
    if not logp.numel():
        return LossReport(logp.sum(), {"tokens": 0.0})
    log_ratio = _log_ratio(logp, old_logp.detach(), sequence, denominators, spec)
    ratio = log_ratio.exp()
    surrogate, metrics = _surrogate(logp, ratio, advantage.detach(), spec)
    if weight is not None:
        surrogate = surrogate * weight.detach()
    value = aggregate(surrogate, sequence, denominators)
    if entropy is not None and spec.entropy_coef:
        value = value - spec.entropy_coef * aggregate(entropy, sequence, denominators)
    if ref_logp is not None:
        penalty = KL_ESTIMATORS[spec.kl](logp, ref_logp.detach())
        metrics["kl_ref"] = _mean(penalty)
        if spec.kl_coef:
            value = value + spec.kl_coef * aggregate(penalty, sequence, denominators)
    metrics |= _token_metrics(logp, old_logp, ratio, entropy, recomputed_logp)
    return LossReport(value, metrics)


def merge_metrics(reports: list[LossReport]) -> dict[str, float]:
    """Metrics of a whole batch from those of its micro-batches.

    Means are weighted by tokens, `*_max` is the largest, `tokens` the sum. `loss` is the sum of
    the values.
    """
    live = [r.metrics for r in reports if r.metrics["tokens"]]
    total = sum(m["tokens"] for m in live)
    out = {"tokens": total, "loss": sum(float(r.value.detach()) for r in reports)}
    for name in sorted({k for m in live for k in m} - {"tokens"}):
        having = [m for m in live if name in m]
        if name.endswith("_max"):
            out[name] = max(m[name] for m in having)
        else:
            count = sum(m["tokens"] for m in having)
            out[name] = sum(m[name] * m["tokens"] for m in having) / count
    return out


def _log_ratio(
    logp: Tensor, old: Tensor, sequence: Tensor, denominators: Denominators, spec: LossSpec
) -> Tensor:
    raw = logp - old
    if spec.objective is Objective.GSPO:
        # The value is the sequence's, the gradient runs through the token's own log-prob.
        raw = logp - logp.detach() + _sequence_mean(raw.detach(), sequence, denominators)
    return raw.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _sequence_mean(values: Tensor, sequence: Tensor, denominators: Denominators) -> Tensor:
    check_known(sequence, denominators)
    counts = torch.as_tensor(denominators.counts, device=values.device)
    here = torch.bincount(sequence, minlength=len(counts))
    torn = torch.nonzero((here > 0) & (here != counts)).flatten()
    if torn.numel():
        first = int(torn[0])
        raise LossError(
            f"GSPO needs whole sequences: {int(here[first])} of {int(counts[first])} tokens of "
            f"sequence {first} are here; keep a sequence in one micro-batch"
        )
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device)
    sums.index_add_(0, sequence, values)
    return (sums / counts.clamp(min=1).to(values.dtype))[sequence]


def _surrogate(
    logp: Tensor, ratio: Tensor, advantage: Tensor, spec: LossSpec
) -> tuple[Tensor, dict[str, float]]:
    low, high = spec.bounds
    clipped = ratio.clamp(low, high)
    if spec.objective is Objective.CISPO:
        return -clipped.detach() * advantage * logp, _fractions(
            clip_low=ratio < low, clip_high=ratio > high
        )
    plain, bounded = -ratio * advantage, -clipped * advantage
    loss = torch.maximum(plain, bounded)
    bites = bounded > plain
    metrics = _fractions(clip_low=bites & (ratio < low), clip_high=bites & (ratio > high))
    if spec.dual_clip is not None:
        ceiling = -spec.dual_clip * advantage
        over = (advantage < 0) & (loss > ceiling)
        loss = torch.where(advantage < 0, torch.minimum(loss, ceiling), loss)
        metrics |= _fractions(clip_dual=over)
    return loss, metrics


def _token_metrics(
    logp: Tensor, old: Tensor, ratio: Tensor, entropy: Tensor | None, recomputed: Tensor | None
) -> dict[str, float]:
    with torch.no_grad():
        out = {
            "tokens": float(logp.numel()),
            "ratio_mean": _mean(ratio),
            "ratio_max": float(ratio.max()),
            "approx_kl": _mean(k3(old, logp)),
        }
        if entropy is not None:
            out["entropy"] = _mean(entropy)
        if recomputed is not None:
            out["mismatch_kl"] = _mean(k3(old, recomputed))
            out["mismatch_max"] = float((recomputed - old).abs().max())
    return out


def _fractions(**flags: Tensor) -> dict[str, float]:
    return {f"{name}_fraction": _mean(flag.float()) for name, flag in flags.items()}


def _mean(values: Tensor) -> float:
    return float(values.detach().mean())


def _check(logp: Tensor, given: dict[str, Tensor], spec: LossSpec) -> None:
    if logp.ndim != 1:
        raise LossError(f"expected flat policy tokens (n,), got logp of shape {tuple(logp.shape)}")
    for name, tensor in given.items():
        if tensor.shape != logp.shape:
            raise LossError(
                f"{name} must have shape {tuple(logp.shape)}, got {tuple(tensor.shape)}"
            )
    for name, tensor in {"logp": logp, **given}.items():
        bad = torch.nonzero(~torch.isfinite(tensor.detach())).flatten()
        if bad.numel():
            raise LossError(
                f"{name} of token {int(bad[0])} is {float(tensor[bad[0]])}, not a finite number"
            )
    for coefficient, name in ((spec.kl_coef, "ref_logp"), (spec.entropy_coef, "entropy")):
        if coefficient and name not in given:
            raise LossError(f"its coefficient is {coefficient}, but {name} was not given")
