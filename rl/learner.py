"""One optimisation step: samples in, new weights and numbers out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vtool.errors import VToolError

from .aggregate import Denominators, Mode, aggregate
from .batch import Batch, Sample, make_batch, plan
from .loss import LossReport, LossSpec, merge_metrics, policy_loss
from .policy import Policy
from .recipe_check import check_learner

MAX_COPIED = 1 << 27
"""Trainable numbers up to which the distance of a step is measured."""
FIRST = ("mismatch_max", "mismatch_kl")


class LearnerStopped(VToolError, RuntimeError):
    """Too many steps in a row had no finite gradient; the weights are the last good ones."""


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How weights are changed.

    Args:
        lr: Peak learning rate.
        betas: Of AdamW.
        eps: Of AdamW.
        weight_decay: Of AdamW.
        grad_clip: Largest gradient norm.
        warmup: Steps of linear warm-up.
        schedule: ``constant`` or ``cosine`` (to 0 at the last step).
        inner_epochs: Updates on each batch of samples.
        aggregation: How tokens and sequences are weighted.
        aggregation_length: Divisor of the sum-norm mode.
        loss: The surrogate.
        row_tokens: Rows into which contexts are packed; 0 pads each to its own row.
        batch_tokens: Tokens of a micro-batch, padding included.
        max_skipped: Steps in a row without finite gradient, after which learning stops.
        freeze: ``vision`` and ``language`` keep their weights if named.
        checkpointing: Keep only the inputs of layers for the backward pass (less memory, more
            time).
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    warmup: int = 0
    schedule: str = "constant"
    inner_epochs: int = 1
    aggregation: Mode = Mode.TOKEN_MEAN
    aggregation_length: float | None = None
    loss: LossSpec = field(default_factory=lambda: LossSpec(clip_low=0.2, clip_high=0.28))
    row_tokens: int = 0
    batch_tokens: int = 16384
    max_skipped: int = 5
    freeze: tuple[str, ...] = ()
    checkpointing: bool = False

    def __post_init__(self) -> None:
        check_learner(self)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            return self.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
        return self.lr * warm


class Learner:
    """Changes the weights of a policy.

    Args:
        policy: What learns.
        settings: How.
        steps: Steps in all, for the schedule.
        reference: Frozen policy for the KL term, where the loss has one.
    """

    def __init__(
        self,
        policy: Policy,
        settings: LearnerSettings,
        steps: int,
        reference: torch.nn.Module | None = None,
    ) -> None:
        self.settings, self.steps, self.reference = settings, steps, reference
        self.accelerator = Accelerator(cpu=policy.vlm.device.type == "cpu")
        names, parameters = zip(*policy.named(), strict=True)
        optimizer = torch.optim.AdamW(
            parameters,
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )
        self.names = dict(zip(parameters, names, strict=True))
        self.policy = policy
        self.model, self.optimizer = self.accelerator.prepare(policy, optimizer)
        self.done = 0
        """Steps taken, skipped ones included."""
        self.skipped = 0
        """Steps in a row without finite gradient."""

    def step(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Learn by the clipped surrogate from policy tokens.

        Args:
            samples: With advantages and behaviour log-probs.

        Returns:
            Loss, ratios, entropy, gradient norm, distance moved, mismatch between recorded and
            recomputed log-probs, over the samples that have credit. Where none has, the weights
            stay as they are and there is little to say.

        Raises:
            LearnerStopped: Too many steps in a row had no finite gradient.
        """
        live = self._live(samples)
        rate = self.settings.rate(self.done, self.steps)
        metrics = {} if live else {"lr": rate, "trained_tokens": 0.0}
        for epoch in range(self.settings.inner_epochs if live else 0):
            got = self._update(samples, self._surrogate, live)
            # What tells engine and learner apart is seen before the first update only.
            metrics = got | {k: metrics[k] for k in FIRST if k in metrics} if epoch else got
        self.done += 1
        return metrics

    def imitate(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Learn by plain negative log-likelihood from the targets (supervised warm start)."""
        metrics = self._update(samples, self._likelihood, range(len(samples)))
        self.done += 1
        return metrics

    @property
    def raw_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser itself, out of its wrapper: what a checkpoint takes apart."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _live(self, samples: Sequence[Sample]) -> list[int]:
        """Samples that move anything; the others count in the means and need no forward pass."""
        loss = self.settings.loss
        everywhere = bool(loss.kl_coef or loss.entropy_coef)
        return [i for i, s in enumerate(samples) if s.target.any() and (everywhere or not s.dead)]

    def _update(
        self, samples: Sequence[Sample], objective: Any, live: Sequence[int]
    ) -> dict[str, float]:
        rate = self.settings.rate(self.done, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        denominators = self._denominators(samples)
        reports: list[LossReport] = []
        self.policy.train()
        for batch in self.batches(samples, live):
            report = objective(batch, denominators)
            self.accelerator.backward(report.value)
            reports.append(report)
        metrics = merge_metrics(reports)
        metrics["trained_tokens"] = metrics.pop("tokens")
        metrics["lr"] = rate
        metrics |= self._apply()
        self.policy.eval()
        return metrics

    def batches(
        self, samples: Sequence[Sample], chosen: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Micro-batches of the chosen samples (all by default), made as they are asked for."""
        rows = plan(
            [len(s) for s in samples],
            chosen=chosen,
            row_tokens=self.settings.row_tokens,
            batch_tokens=self.settings.batch_tokens,
        )
        return (make_batch(samples, r, self.policy.vlm.image_token_id) for r in rows)

    def _denominators(self, samples: Sequence[Sample]) -> Denominators:
        counts = np.array([int(s.target.sum()) for s in samples], np.int64)
        mode, length = self.settings.aggregation, self.settings.aggregation_length
        return Denominators(mode, counts, length)

    def _surrogate(self, batch: Batch, denominators: Denominators) -> LossReport:
        logp, entropy = self.model(batch, entropy=True)
        if not torch.isfinite(logp).all():
            # The gradient will not be finite either: the step is skipped and counted.
            return LossReport(logp.sum(), {"tokens": float(logp.numel())})
        reference = None
        if self.reference is not None:
            with torch.no_grad():
                reference = self.reference(batch)[0]
        old = batch.old_logp.to(logp.device)
        return policy_loss(
            logp,
            old,
            batch.advantage.to(logp.device),
            sequence=batch.sequence.to(logp.device),
            denominators=denominators,
            spec=self.settings.loss,
            entropy=entropy,
            ref_logp=reference,
            recomputed_logp=logp.detach(),
        )

    def _likelihood(self, batch: Batch, denominators: Denominators) -> LossReport:
        logp, _ = self.model(batch)
        value = aggregate(-logp, batch.sequence.to(logp.device), denominators)
        count = float(logp.numel())
        nll = float(-logp.detach().mean()) if count else 0.0
        return LossReport(value, {"tokens": count, "nll": nll})

    def _apply(self) -> dict[str, float]:
        norm = self.accelerator.clip_grad_norm_(
            [p for _, p in self.policy.named()], self.settings.grad_clip
        )
        # A copy of billions of weights only to tell how far they moved is not worth its memory.
        before = self.policy.snapshot() if self.policy.learns <= MAX_COPIED else None
        fine = is_finite(norm)
        if fine:
            self.optimizer.step()
            self.skipped = 0
        else:
            self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.skipped >= self.settings.max_skipped:
            raise LearnerStopped(
                f"{self.skipped} steps in a row without a finite gradient: lower the learning "
                "rate or look for NaN in rewards; the last good weights are kept"
            )
        told = {"grad_norm": float(norm), "skipped": float(not fine)}
        return told if before is None else told | {"step_distance": self.policy.distance(before)}


def is_finite(norm: Tensor) -> bool:
    """Whether a gradient norm allows a step: one NaN would poison every weight."""
    return bool(torch.isfinite(norm))
