"""Estimates of KL(policy || reference) from the log-probs of the policy's own tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Bound of a log-ratio before `exp`: e^20 = 4.9e8 is past every clip and still far from the
float32 limit, so that one broken token cannot turn a step into inf."""
KL_LIMIT = 10.0
"""Largest k3 of one token; a token beyond it says that something is broken, not how far."""


def k1(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Log-ratio: unbiased, of large variance, may be negative.

    Source: Schulman, "Approximating KL divergence" (2020). Trap: for reports; as a loss its
    expected gradient is 0, so use `k2` or `k3+` there.

    Args:
        logp: (N,) of the policy.
        ref_logp: (N,) of the reference.
    """
    return logp - ref_logp


def k2(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Half the squared log-ratio: biased value, right gradient.

    Source: Schulman (2020). Trap: not to be reported as a KL where policies are far apart.

    Args:
        logp: (N,) of the policy.
        ref_logp: (N,) of the reference.
    """
    return 0.5 * (logp - ref_logp).square()


def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """e^d - d - 1 with d = ref - policy: unbiased and never negative.

    Source: Schulman (2020). Trap: its gradient is biased; held at 10 a token.

    Args:
        logp: (N,) of the policy.
        ref_logp: (N,) of the reference.
    """
    d = (ref_logp - logp).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return (torch.expm1(d) - d).clamp(max=KL_LIMIT)


def k3_plus(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Value of `k3` with the gradient of `k2`, straight through.

    Source: released trainers (verl). Trap: differences of its value do not tell its gradient.

    Args:
        logp: (N,) of the policy.
        ref_logp: (N,) of the reference.
    """
    path = k2(logp, ref_logp)
    return path - path.detach() + k3(logp, ref_logp).detach()


def to_go(kl: Tensor, gamma: float = 1.0) -> Tensor:
    """KL of each token of one sequence and, discounted, of all tokens after it.

    Args:
        kl: (n,) of the policy tokens in order.
        gamma: Discount a token.

    Returns:
        (n,) times the coefficient, what each token's credit loses with KL in the reward.
    """
    out = kl.clone()
    if gamma == 1.0:
        return out.flip(0).cumsum(0).flip(0)
    for t in range(len(out) - 2, -1, -1):
        out[t] = kl[t] + gamma * out[t + 1]
    return out


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
    "k3+": k3_plus,
}
"""f(logp, ref_logp) -> (N,). Source: Schulman, "Approximating KL divergence" (2020)."""
