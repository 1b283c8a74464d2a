"""One optimisation step: samples in, new weights and numbers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vtool.errors import VToolError

from .aggregate import Denominators, aggregate
from .batch import Batch, Sample, make_batch, plan
from .correction import Level
from .gathering import priced, sums, target_logprobs, with_proximal
from .learner_settings import LearnerSettings
from .loss import KLPlace, LossReport, LossSpec, merge_metrics, policy_loss
from .policy import Policy
from .preference import pair_gradients
from .prefix_groups import PrefixGroup, make_shared_batch, pack_groups, prefix_groups

__all__ = ["Learner", "LearnerSettings", "LearnerStopped", "Work", "is_finite"]

MAX_COPIED = 1 << 27
"""Trainable numbers up to which the distance of a step is measured."""
FIRST = ("mismatch_max", "mismatch_kl")


class LearnerStopped(VToolError, RuntimeError):
    """Too many steps in a row had no finite gradient; the weights are the last good ones."""


@dataclass(frozen=True, slots=True)
class Work:
    """One term of an update.

    Args:
        name: Prefix of its metrics.
        samples: All of its samples; those that move nothing count in its means.
        objective: From a micro-batch to its share of the loss.
        live: Which samples move anything.
        weight: Its factor in the sum.
    """

    name: str
    samples: Sequence[Sample]
    objective: Callable[[Batch, Denominators], LossReport]
    live: Sequence[int]
    weight: float = 1.0


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

    def step(self, samples: Sequence[Sample], replay: Sequence[Sample] = ()) -> dict[str, float]:
        """Learn by the surrogate from policy tokens.

        Args:
            samples: With advantages and behaviour log-probs.
            replay: Samples of earlier steps, learnt from by `settings.replay`: their own loss,
                their own mean, weighted against the fresh ones by the step.

        Returns:
            Loss, ratios, entropy, gradient norm, distance moved, mismatch between recorded and
            recomputed log-probs, over the samples that have credit; those of the replay under
            `replay/`. Where none has, the weights stay as they are and there is little to say.

        Raises:
            LearnerStopped: Too many steps in a row had no finite gradient.
        """
        works = [w for w in self._works(samples, replay) if w.live]
        metrics = {} if works else {"lr": self._rate, "trained_tokens": 0.0}
        for epoch in range(self.settings.inner_epochs if works else 0):
            got = self._update(works)
            # What tells engine and learner apart is seen before the first update only.
            metrics = got | {k: metrics[k] for k in FIRST if k in metrics} if epoch else got
        self.done += 1
        return metrics

    def _works(self, samples: Sequence[Sample], replay: Sequence[Sample]) -> list[Work]:
        """The terms of a step's objective, with what each needs to know beforehand."""
        settings = self.settings
        works = []
        for name, rows, spec, weight in (
            ("", samples, settings.loss, 1.0),
            ("replay/", replay, settings.replay.loss, settings.replay.weight(self.done)),
        ):
            if rows and weight > 0:
                told = self._prepared(rows, spec)
                objective = partial(self._surrogate, spec=spec)
                works.append(Work(name, told, objective, self._live(told, spec), weight))
        return works

    def _prepared(self, samples: Sequence[Sample], spec: LossSpec) -> list[Sample]:
        """Samples with the KL's price, and with the learner's own log-probs where needed."""
        rows = list(samples)
        some = [i for i, s in enumerate(rows) if s.target.any()]
        if spec.kl_coef and spec.kl_in is KLPlace.REWARD:
            if self.reference is None:
                raise VToolError("KL in the reward needs the first weights: reference=true")
            batches = self.batches(rows, some)
            rows = priced(rows, target_logprobs(self.reference, rows, batches), spec)
        if spec.correction.level is not Level.NONE and self.settings.inner_epochs > 1:
            live = self._live(rows, spec)
            rows = with_proximal(rows, self._recomputed(rows, live))
        return rows

    def _recomputed(self, samples: Sequence[Sample], chosen: Sequence[int]) -> list[Any]:
        """Log-probs of the targets of some samples, by the weights as they are."""
        return target_logprobs(self.policy, samples, self.batches(samples, chosen))

    def prefer(self, pairs: Sequence[tuple[Sample, Sample]]) -> dict[str, float]:
        """Learn that of two answers to one past the first is better (`settings.preference`).

        Exact in any micro-batches: log-probs of all answers are taken first, then each answer is
        learnt from with the derivative of the loss by its log-prob.

        Args:
            pairs: Chosen and rejected samples; their targets are the tokens that differ.

        Returns:
            Loss, share of pairs in the right order, margins, gradient norm.

        Raises:
            VToolError: The loss needs a reference and there is none, or there are no pairs.
            LearnerStopped: Too many steps in a row had no finite gradient.
        """
        spec = self.settings.preference
        if self.reference is None and not spec.reference_free:
            raise VToolError("a preference loss needs the first weights beside it: reference=true")
        samples = [s for pair in pairs for s in pair]
        if not samples or not all(s.target.any() for s in samples):
            raise VToolError("preferences need pairs of samples that have targets")
        everyone = range(len(samples))
        logp = [float(r.sum()) for r in self._recomputed(samples, everyone)]
        reference = None
        if self.reference is not None and not spec.reference_free:
            rows = target_logprobs(self.reference, samples, self.batches(samples))
            reference = [float(r.sum()) for r in rows]
        tokens = [int(s.target.sum()) for s in samples]
        value, slopes, told = pair_gradients(logp, reference, tokens, spec)

        def pull(batch: Batch, denominators: Denominators) -> LossReport:
            found = self.model(batch)[0]
            return LossReport(
                sums(found, batch.sequence.to(found.device), slopes),
                {"tokens": float(found.numel())},
            )

        metrics = self._update([Work("", samples, pull, everyone)]) | told | {"loss": value}
        self.done += 1
        return metrics

    def imitate(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Learn by plain negative log-likelihood from the targets (supervised warm start)."""
        metrics = self._update([Work("", samples, self._likelihood, range(len(samples)))])
        self.done += 1
        return metrics

    @property
    def raw_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser itself, out of its wrapper: what a checkpoint takes apart."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    @property
    def _rate(self) -> float:
        return self.settings.rate(self.done, self.steps)

    def _live(self, samples: Sequence[Sample], spec: LossSpec) -> list[int]:
        """Samples that move anything; the others count in the means and need no forward pass."""
        everywhere = bool(spec.kl_in_loss or spec.entropy_coef)
        return [i for i, s in enumerate(samples) if s.target.any() and (everywhere or not s.dead)]

    def _update(self, works: Sequence[Work]) -> dict[str, float]:
        """One change of the weights by the sum of some objectives."""
        rate = self._rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        metrics: dict[str, float] = {}
        self.policy.train()
        for work in works:
            told = merge_metrics(self._backward(work))
            told["trained_tokens"] = told.pop("tokens")
            metrics |= {f"{work.name}{key}": value for key, value in told.items()}
            if work.name:
                metrics[f"{work.name}weight"] = work.weight
        metrics.setdefault("trained_tokens", 0.0)
        metrics["lr"] = rate
        metrics |= self._apply()
        self.policy.eval()
        return metrics

    def _backward(self, work: Work) -> list[LossReport]:
        denominators = self._denominators(work.samples)
        reports: list[LossReport] = []
        for batch in self.batches(work.samples, work.live):
            report = work.objective(batch, denominators)
            self.accelerator.backward(report.value * work.weight)
            reports.append(report)
        return reports

    def batches(
        self, samples: Sequence[Sample], chosen: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Micro-batches of the chosen samples (all by default), made as they are asked for."""
        settings, visual = self.settings, self.policy.vlm.visual_ids
        groups: list[PrefixGroup] = []
        rest = list(range(len(samples)) if chosen is None else chosen)
        if settings.share_prefixes and self.policy.shares:
            groups, rest = prefix_groups(samples, rest, settings.batch_tokens)
        rows = plan(
            [len(s) for s in samples],
            chosen=rest,
            row_tokens=settings.row_tokens,
            batch_tokens=settings.batch_tokens,
        )
        shared = pack_groups(samples, groups, settings.batch_tokens)
        yield from (make_shared_batch(samples, g, visual) for g in shared)
        yield from (make_batch(samples, r, visual) for r in rows)

    def _denominators(self, samples: Sequence[Sample]) -> Denominators:
        counts = np.array([int(s.target.sum()) for s in samples], np.int64)
        settings = self.settings
        return Denominators(
            settings.aggregation, counts, settings.aggregation_length, settings.aggregation_average
        )

    def _surrogate(self, batch: Batch, denominators: Denominators, *, spec: LossSpec) -> LossReport:
        logp, entropy = self.model(batch, entropy=True)
        if not torch.isfinite(logp).all():
            # The gradient will not be finite either: the step is skipped and counted.
            return LossReport(logp.sum(), {"tokens": float(logp.numel())})
        reference = None
        if self.reference is not None:
            with torch.no_grad():
                reference = self.reference(batch)[0]
        old = batch.proximal.to(logp.device)
        if spec.correction.level is not Level.NONE and self.settings.inner_epochs == 1:
            old = logp.detach()  # the weights are those of the start of the step
        return policy_loss(
            logp,
            old,
            batch.advantage.to(logp.device),
            sequence=batch.sequence.to(logp.device),
            denominators=denominators,
            spec=spec,
            entropy=entropy,
            ref_logp=reference,
            recomputed_logp=logp.detach(),
            behaviour_logp=batch.old_logp.to(logp.device),
            generator=torch.Generator().manual_seed(self.done),
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
