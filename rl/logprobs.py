"""Log-probs of chosen tokens without ever holding all logits.

The caller selects the hidden states of policy tokens *before* the head: in multi-turn tool use
they are about a fifth of all tokens. This room then bounds what is left: logits exist for
`chunk` rows at a time, in the forward pass and again, recomputed, in the backward pass. Peak
extra memory is chunk x V float32, against several times N x V for the plain way; the price is
one GEMM more (4 instead of 3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vtool.errors import VToolError

CHUNK = 256
"""Rows of logits held at once: 256 x 152k float32 = 156 MB."""
CAST_ROWS = 8192
"""Rows of a half precision head that are widened at once where no GEMM writes float32."""


def selected_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    chunk: int = CHUNK,
    entropy: bool = False,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """Log-prob of each target under softmax(hidden @ weight.T / temperature).

    Args:
        hidden: (N, H) final hidden states at the positions that *predict* the targets.
        weight: (V, H) of the language head, unsharded.
        targets: (N,) int64 token ids.
        chunk: Rows of logits held at once.
        entropy: Whether to return the entropy of each distribution, with gradient.
        temperature: Divides the logits. Records and losses use 1.

    Returns:
        float32 (N,) log-probs and float32 (N,) entropies in nats, or None. Gradients flow to
        `hidden` and `weight` in their own dtypes; arithmetic is float32 throughout
        (float64 where `hidden` is).

    Raises:
        VToolError: Shapes that do not fit, or a chunk or temperature that is not positive.
    """
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise VToolError(
            "expected hidden (N, H) and weight (V, H), got "
            f"{tuple(hidden.shape)} and {tuple(weight.shape)}"
        )
    if targets.shape != hidden.shape[:1]:
        raise VToolError(f"expected one target per row, got {tuple(targets.shape)}")
    if chunk < 1 or not temperature > 0:
        raise VToolError(f"chunk and temperature must be positive, got {chunk} and {temperature}")
    logp, ent = _Selected.apply(hidden, weight, targets, chunk, entropy, temperature)
    return logp, (ent if entropy else None)


class _Selected(torch.autograd.Function):
    """Chunked gather of log-softmax; the logits are recomputed in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        chunk: int,
        entropy: bool,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        n = hidden.shape[0]
        logp = torch.empty(n, dtype=_wide(hidden), device=hidden.device)
        lse, ent = torch.empty_like(logp), torch.empty_like(logp)
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in _chunks(n, chunk):
                logits = _logits(hidden[rows], weight, temperature)
                lse[rows] = logits.logsumexp(-1)
                logp[rows] = logits.gather(-1, targets[rows, None]).squeeze(-1) - lse[rows]
                if entropy:
                    ent[rows] = _entropy(logits.sub_(lse[rows, None]))
        ctx.save_for_backward(hidden, weight, targets, lse, ent)
        ctx.chunk, ctx.temperature = chunk, temperature
        # Nobody who only watches the entropy pays for its gradient.
        ctx.set_materialize_grads(False)
        if not entropy:
            ctx.mark_non_differentiable(ent)
        return logp, ent

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_logp: Tensor | None, d_ent: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, lse, ent = ctx.saved_tensors
        d_logp = torch.zeros_like(lse) if d_logp is None else d_logp
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        # Sums over chunks stay in float32, whatever the weight is kept in.
        d_weight = (
            torch.zeros(weight.shape, dtype=_wide(hidden), device=weight.device)
            if ctx.needs_input_grad[1]
            else None
        )
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in _chunks(hidden.shape[0], ctx.chunk):
                grad = _logits(hidden[rows], weight, ctx.temperature).sub_(lse[rows, None])
                if d_ent is not None:
                    _softmax_grad_with_entropy(grad, d_logp[rows], d_ent[rows], ent[rows])
                else:
                    grad.exp_().mul_(-d_logp[rows, None])
                grad.scatter_add_(-1, targets[rows, None], d_logp[rows, None])
                if ctx.temperature != 1:
                    grad.div_(ctx.temperature)
                if d_hidden is not None:
                    d_hidden[rows] = _times_weight(grad, weight).to(hidden.dtype)
                if d_weight is not None:
                    d_weight.addmm_(grad.t(), hidden[rows].to(d_weight.dtype))
        if d_weight is not None:
            d_weight = d_weight.to(weight.dtype)
        return d_hidden, d_weight, None, None, None, None


def _wide(hidden: Tensor) -> torch.dtype:
    """Dtype of the arithmetic: float32, or float64 for float64 inputs."""
    return torch.promote_types(hidden.dtype, torch.float32)


def _chunks(n: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]


def _entropy(logp: Tensor) -> Tensor:
    """-(p log p) summed over the vocabulary."""
    return -logp.exp().mul_(logp).sum(-1)


def _softmax_grad_with_entropy(logp: Tensor, d_logp: Tensor, d_ent: Tensor, ent: Tensor) -> None:
    """Turn log-probs into the gradient of logits, in place, but for the target's own term.

    d logp_t / d l_j = 1[j = t] - p_j and d H / d l_j = -p_j (log p_j + H).
    """
    p = logp.exp()
    logp.add_(ent[:, None]).mul_(-d_ent[:, None]).sub_(d_logp[:, None]).mul_(p)


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """(n, V) float32 logits; a half precision head is widened block by block."""
    wide = hidden.to(_wide(hidden))
    if weight.dtype == wide.dtype:
        logits = wide @ weight.t()
    else:
        logits = wide.new_empty(len(hidden), len(weight))
        for rows in _chunks(len(weight), CAST_ROWS):
            logits[:, rows] = wide @ weight[rows].to(wide.dtype).t()
    return logits.div_(temperature) if temperature != 1 else logits


def _times_weight(grad: Tensor, weight: Tensor) -> Tensor:
    """(n, H) float32: grad @ weight."""
    if weight.dtype == grad.dtype:
        return grad @ weight
    out = grad.new_zeros(len(grad), weight.shape[1])
    for rows in _chunks(len(weight), CAST_ROWS):
        out.addmm_(grad[:, rows], weight[rows].to(grad.dtype))
    return out
