"""The policy loss over policy tokens only.

Tokens come flat, and already selected: what the policy did not write is not here, so it cannot
enter the loss, the KL, the entropy, a ratio mean or any metric. Which sequence a token belongs
to is told by `sequence`; how sequences are weighted, by `Denominators` of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .aggregate import Denominators, Mode, aggregate
from .clip_cov import clip_cov_weight, kl_cov_penalty
from .correction import Level, importance_weight
from .kl import KL_ESTIMATORS, LOG_RATIO_LIMIT, k3
from .loss_spec import Band, CovSpec, KLPlace, LossError, LossSpec, Objective
from .sequences import TornSequence, sequence_mean

__all__ = [
    "Band",
    "CovSpec",
    "KLPlace",
    "LossError",
    "LossReport",
    "LossSpec",
    "Objective",
    "merge_metrics",
    "policy_loss",
]


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
    behaviour_logp: Tensor | None = None,
    weight: Tensor | None = None,
    generator: torch.Generator | None = None,
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
            metrics, KL(record || recomputed); the record is `behaviour_logp`, else `old_logp`.
        behaviour_logp: (n,) as recorded, where `old_logp` is not the record: what the spec's
            importance correction compares `old_logp` with.
        weight: (n,) constant factor of each token's surrogate (replay).
        generator: Draws Clip-Cov's tokens; seed it per step.

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
    optional |= {"weight": weight, "behaviour_logp": behaviour_logp}
    _check(logp, given | {k: v for k, v in optional.items() if v is not None}, spec)
    if spec.objective.by_sequence and denominators.mode is not Mode.SEQ_MEAN_TOKEN_MEAN:
        raise LossError(
            f"{spec.objective} is defined under {Mode.SEQ_MEAN_TOKEN_MEAN}, not {denominators.mode}"
        )
    if not logp.numel():
        return LossReport(logp.sum(), {"tokens": 0.0})
    log_ratio = _log_ratio(logp, old_logp.detach(), sequence, denominators, spec)
    ratio = log_ratio.exp()
    surrogate, metrics = _surrogate(logp, ratio, advantage.detach(), spec)
    if spec.objective is Objective.KL_COV:
        surrogate = surrogate + kl_cov_penalty(logp, old_logp.detach(), advantage, spec.cov)
    if spec.objective is Objective.CLIP_COV:
        kept = clip_cov_weight(
            logp.detach(),
            advantage.detach(),
            _clipped(ratio, advantage, spec),
            generator=generator,
            ratio=spec.cov.ratio,
            low=spec.cov.low,
            high=spec.cov.high,
        )
        surrogate, metrics["clip_cov_fraction"] = surrogate * kept, _mean(1 - kept)
    if spec.correction.level is not Level.NONE and behaviour_logp is not None:
        corrected = importance_weight(
            old_logp.detach(),
            behaviour_logp.detach(),
            sequence=sequence,
            denominators=denominators,
            spec=spec.correction,
        )
        surrogate, metrics["correction_mean"] = surrogate * corrected, _mean(corrected)
    if weight is not None:
        surrogate = surrogate * weight.detach()
    value = aggregate(surrogate, sequence, denominators)
    if entropy is not None and spec.entropy_coef:
        value = value - spec.entropy_coef * aggregate(entropy, sequence, denominators)
    if ref_logp is not None:
        penalty = KL_ESTIMATORS[spec.kl](logp, ref_logp.detach())
        metrics["kl_ref"] = _mean(penalty)
        if spec.kl_in_loss:
            value = value + spec.kl_in_loss * aggregate(penalty, sequence, denominators)
    metrics |= _token_metrics(logp, old_logp, ratio, entropy)
    if recomputed_logp is not None:
        record = old_logp if behaviour_logp is None else behaviour_logp
        metrics |= _mismatch(record.detach(), recomputed_logp)
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
    if spec.objective.by_sequence:
        try:
            mean = sequence_mean(raw, sequence, denominators)[sequence]
        except TornSequence as err:
            raise LossError(str(err)) from err
        # The value is the sequence's either way; the gradient runs through the sequence, or
        # through the token's own log-prob.
        token = spec.objective is Objective.GSPO_TOKEN
        raw = logp - logp.detach() + mean.detach() if token else mean
    return raw.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _clipped(ratio: Tensor, advantage: Tensor, spec: LossSpec) -> Tensor:
    """(n,) True where the clip takes the gradient."""
    low, high = spec.bounds
    return (-ratio.clamp(low, high) * advantage > -ratio * advantage).detach()


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
    if spec.objective is Objective.KL_COV:
        return plain, {}
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
    logp: Tensor, old: Tensor, ratio: Tensor, entropy: Tensor | None
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
    return out


def _mismatch(record: Tensor, recomputed: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return {
            "mismatch_kl": _mean(k3(record, recomputed)),
            "mismatch_max": float((recomputed - record).abs().max()),
        }


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
    for coefficient, name in ((spec.kl_in_loss, "ref_logp"), (spec.entropy_coef, "entropy")):
        if coefficient and name not in given:
            raise LossError(f"its coefficient is {coefficient}, but {name} was not given")
