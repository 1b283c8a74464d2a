"""Direct preference loss: of two answers to one past, the chosen one becomes likelier.

Log-probs of whole answers go in; who is a pair, and what they share, is `tree_pairs`' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .loss_spec import LossError


class PreferenceLoss(StrEnum):
    """How the margin between two answers becomes a loss."""

    SIGMOID = "sigmoid"
    """-log sigma(beta margin). Source: DPO, arXiv 2305.18290 eq. 7."""
    SIGMOID_NORM = "sigmoid_norm"
    """The same on log-ratios per token, so that length does not count."""
    HINGE = "hinge"
    """max(0, 1 - beta margin). Source: SLiC, arXiv 2305.10425; RSO, arXiv 2309.06657."""
    IPO = "ipo"
    """(margin per token - 1 / (2 beta))^2. Source: arXiv 2310.12036 eq. 17."""
    ROBUST = "robust"
    """Unbiased where a share of the labels is flipped. Source: arXiv 2403.00409."""


@dataclass(frozen=True, slots=True)
class PreferenceSpec:
    """Settings of the preference loss.

    Args:
        loss: How a margin becomes a loss.
        beta: Strength of the tie to the reference.
        label_smoothing: For ``robust``: the share of flipped labels, below 0.5.
        reference_free: Whether the reference counts as indifferent, and is not asked.

    Raises:
        LossError: Values under which no preference is learnt.
    """

    loss: PreferenceLoss = PreferenceLoss.SIGMOID
    beta: float = 0.1
    label_smoothing: float = 0.0
    reference_free: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", PreferenceLoss(self.loss))
        if not self.beta > 0 or not 0 <= self.label_smoothing < 0.5:
            raise LossError(
                "a preference needs beta > 0 and 0 <= label_smoothing < 0.5, got "
                f"{self.beta}, {self.label_smoothing}"
            )


def preference_loss(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor | None = None,
    ref_rejected: Tensor | None = None,
    *,
    spec: PreferenceSpec | None = None,
    chosen_tokens: Tensor | None = None,
    rejected_tokens: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Mean preference loss of some pairs.

    Args:
        chosen: (P,) log-prob of each chosen answer, summed over its tokens, with gradient.
        rejected: (P,) of each rejected one.
        ref_chosen: (P,) under the reference; None if the spec is reference-free.
        ref_rejected: (P,).
        spec: Settings.
        chosen_tokens: (P,) tokens of each chosen answer, for losses per token.
        rejected_tokens: (P,).

    Returns:
        The loss, and metrics: share of pairs in the right order, mean margin and rewards.

    Raises:
        LossError: Shapes differ, or what the loss needs is missing.
    """
    spec = spec or PreferenceSpec()
    references = _references(chosen, ref_chosen, ref_rejected, spec)
    if chosen.shape != rejected.shape or chosen.ndim != 1 or not len(chosen):
        raise LossError(f"expected (P,) log-probs each, got {chosen.shape} and {rejected.shape}")
    ratios = chosen - references[0], rejected - references[1]
    if spec.loss in (PreferenceLoss.SIGMOID_NORM, PreferenceLoss.IPO):
        if chosen_tokens is None or rejected_tokens is None:
            raise LossError(f"preference loss {spec.loss} needs the answers' token counts")
        lengths = chosen_tokens.clamp(min=1), rejected_tokens.clamp(min=1)
        margin = ratios[0] / lengths[0] - ratios[1] / lengths[1]
    else:
        margin = ratios[0] - ratios[1]
    value = _LOSSES[spec.loss](margin, spec).mean()
    rewards = [spec.beta * r.detach() for r in ratios]
    metrics = {
        "preference/accuracy": float((rewards[0] > rewards[1]).float().mean()),
        "preference/margin": float((rewards[0] - rewards[1]).mean()),
        "preference/chosen": float(rewards[0].mean()),
        "preference/rejected": float(rewards[1].mean()),
    }
    return value, metrics


def pair_gradients(
    sums: Sequence[float],
    references: Sequence[float] | None,
    tokens: Sequence[int],
    spec: PreferenceSpec,
) -> tuple[float, list[float], dict[str, float]]:
    """The loss, and its derivative by the log-prob of every answer.

    With these the answers may be learnt from in any micro-batches: the gradient of the loss is
    the sum over answers of derivative times gradient of its log-prob.

    Args:
        sums: (2P,) log-probs of the answers: chosen, rejected, chosen, rejected ...
        references: (2P,) under the reference, or None.
        tokens: (2P,) tokens of each.
        spec: Settings.
    """
    logp = torch.tensor(sums, dtype=torch.float64, requires_grad=True)
    length = torch.tensor(tokens, dtype=torch.float64)
    ref = None if references is None else torch.tensor(references, dtype=torch.float64)
    value, metrics = preference_loss(
        logp[0::2],
        logp[1::2],
        None if ref is None else ref[0::2],
        None if ref is None else ref[1::2],
        spec=spec,
        chosen_tokens=length[0::2],
        rejected_tokens=length[1::2],
    )
    (gradient,) = torch.autograd.grad(value, logp)
    return float(value.detach()), gradient.tolist(), metrics


def _references(
    like: Tensor, chosen: Tensor | None, rejected: Tensor | None, spec: PreferenceSpec
) -> tuple[Tensor, Tensor]:
    if spec.reference_free:
        return torch.zeros_like(like), torch.zeros_like(like)
    if chosen is None or rejected is None:
        raise LossError("the preference loss needs the reference's log-probs: reference=true")
    return chosen.detach(), rejected.detach()


def _robust(margin: Tensor, spec: PreferenceSpec) -> Tensor:
    right, flipped = logsigmoid(spec.beta * margin), logsigmoid(-spec.beta * margin)
    smooth = spec.label_smoothing
    return (smooth * flipped - (1 - smooth) * right) / (1 - 2 * smooth)


_Margin: TypeAlias = Callable[[Tensor, PreferenceSpec], Tensor]

_LOSSES: dict[PreferenceLoss, _Margin] = {
    PreferenceLoss.SIGMOID: lambda m, s: -logsigmoid(s.beta * m),
    PreferenceLoss.SIGMOID_NORM: lambda m, s: -logsigmoid(s.beta * m),
    PreferenceLoss.HINGE: lambda m, s: torch.relu(1 - s.beta * m),
    PreferenceLoss.IPO: lambda m, s: (m - 1 / (2 * s.beta)).square(),
    PreferenceLoss.ROBUST: _robust,
}
