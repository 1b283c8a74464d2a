"""Covariance: a few tokens that drive entropy down lose their loss, or pay for their distance.

Mean and covariance are those of the tokens at hand (a micro-batch), as in released code.

Source: "The Entropy Mechanism of Reinforcement Learning" (arXiv 2505.22617), Clip-Cov, KL-Cov.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .loss_spec import CovSpec


def covariance(logp: Tensor, advantage: Tensor) -> Tensor:
    """(n,) product of each token's centred advantage and centred log-prob."""
    with torch.no_grad():
        return (advantage - advantage.mean()) * (logp - logp.mean())


def clip_cov_weight(
    logp: Tensor,
    advantage: Tensor,
    clipped: Tensor,
    *,
    generator: torch.Generator | None,
    ratio: float = 2e-4,
    low: float = 1.0,
    high: float = 5.0,
) -> Tensor:
    """Weights for `policy_loss(weight=...)`: 0 for the tokens drawn, 1 for the rest.

    Args:
        logp: (n,) of the policy tokens.
        advantage: (n,).
        clipped: (n,) True where the clip took the gradient already.
        generator: Draws among the candidates; seed it per step. None takes the global one.
        ratio: Share of all tokens to draw, rounded down, at least one.
        low: Candidates have a covariance above it,
        high: and below it.

    Returns:
        (n,) float weights.
    """
    cov = covariance(logp, advantage)
    candidates = torch.nonzero((cov > low) & (cov < high) & ~clipped).flatten()
    count = min(max(int(ratio * logp.numel()), 1), candidates.numel())
    order = torch.randperm(candidates.numel(), generator=generator)[:count]
    weight = torch.ones_like(logp)
    weight[candidates[order.to(candidates.device)]] = 0.0
    return weight


def kl_cov_penalty(logp: Tensor, old_logp: Tensor, advantage: Tensor, spec: CovSpec) -> Tensor:
    """(n,) what the tokens of highest covariance pay; 0 for the rest.

    Args:
        logp: (n,) of the policy tokens, with gradient.
        old_logp: (n,) under the old policy.
        advantage: (n,).
        spec: Share of tokens and price.
    """
    count = max(int(spec.ratio * logp.numel()), 1)
    top = torch.topk(covariance(logp.detach(), advantage), count).indices
    picked = torch.zeros_like(logp.detach())
    picked[top] = 1.0
    return spec.coef * picked * (logp - old_logp).abs()
