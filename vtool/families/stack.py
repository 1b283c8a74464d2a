"""A faster walk through the library's language models, on their own weights.

Decoding with a small model, most of the time goes into calling modules, not into arithmetic. Here
a layer is two functions: attention by whatever kernel the model was set to, queries and keys
turned together, and the feed-forward part. The arithmetic is the library's in its own order:
results on a CPU are its to the bit, gradients to rounding; tests hold them there. Where only some
positions are asked for, the last matrices see fewer rows and may round otherwise. What this walk
does not know (sliding windows, hooks, checkpointing, sharded layers, masks that the library would
have to make) goes the library's way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook
from transformers import AttentionInterface
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen25
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3

LAYERS = (qwen25.Qwen2_5_VLDecoderLayer, qwen3.Qwen3VLTextDecoderLayer)
NORMS = (qwen25.Qwen2_5_VLRMSNorm, qwen3.Qwen3VLTextRMSNorm)
GROUPED = "vtool_grouped"
"""Name under which the engines register their own attention."""
PREFIX = "vtool_prefix"
"""Name under which `prefix_attention` is registered: what learners use."""
KINDS = ("sdpa", GROUPED, PREFIX)
"""Attention that reads a mask as it is given."""

Attend = Callable[..., tuple[Tensor, Any]]


def walks(language: Any, mask: Tensor | None, cache: Any) -> bool:
    """Whether `walk` knows this model as it stands, and this mask.

    Args:
        language: The library's language model.
        mask: As for `VLM.hidden`.
        cache: As for `VLM.hidden`.
    """
    if language.config._attn_implementation not in KINDS or not _bare(language):
        return False
    if _has_any_global_hook():
        return False
    # A 2-D mask, or none beside a cache, is made into another one by the library.
    if (cache is not None) if mask is None else (mask.dim() != 4):
        return False
    return all(_plain(layer) for layer in language.layers)


def _plain(layer: Any) -> bool:
    """Whether a layer is the library's own and does nothing that the walk leaves out."""
    attention = layer.self_attn
    return (
        type(layer) in LAYERS
        and _bare(layer)
        and _bare(attention)
        and _bare(layer.mlp)
        and not (layer.gradient_checkpointing and layer.training)
        and getattr(attention, "sliding_window", None) is None
        and not (attention.attention_dropout and layer.training)
    )


def _bare(module: nn.Module) -> bool:
    """Whether nobody listens to its calls."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def walk(
    language: Any,
    x: Tensor,
    positions: Tensor,
    mask: Tensor | None,
    cache: Any = None,
    deep: Sequence[Tensor] = (),
    visual: Tensor | None = None,
    at: Tensor | None = None,
) -> Tensor:
    """Last hidden states, after the final norm.

    Where only some are asked for, the last layer attends everywhere and does the rest there alone.

    Args:
        language: A model that `walks`.
        x: (B, L, H) embeddings.
        positions: (3, B, L).
        mask: bool (B, 1, L, T), or None for plain causal attention without a cache.
        cache: Takes keys and values of each layer and gives all so far.
        deep: Per layer from the first, (N, H) features added at the placeholders.
        visual: bool (B, L), the placeholders; needed with ``deep``.
        at: int64 (N,), flat positions that are asked for; None for all.

    Returns:
        (B, L, H), or (N, H).
    """
    attend: Attend = AttentionInterface()[language.config._attn_implementation]
    cos, sin = language.rotary_emb(x, positions)
    half = sin.shape[-1] // 2
    # Turning by a half and changing the sign of its left side, the sign moved to the sines.
    turn = cos[:, :, None], torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)[:, :, None]
    final = len(language.layers) - 1
    for number, layer in enumerate(language.layers):
        normed = _norm(layer.input_layernorm, x)
        mixed = _attention(layer.self_attn, normed, turn, mask, cache, attend)
        if at is not None and number == max(final, len(deep)):
            x, mixed, at = _rows(x, at), _rows(mixed, at), None
        x = x + _linear(layer.self_attn.o_proj, mixed)
        x = x + _feed(layer.mlp, _norm(layer.post_attention_layernorm, x))
        if number < len(deep):
            assert visual is not None
            x = x.clone()
            x[visual] = x[visual] + deep[number].to(x.dtype)
    return _norm(language.norm, x if at is None else _rows(x, at))


def _rows(x: Tensor, at: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])[at]


def _attention(
    attn: Any,
    x: Tensor,
    turn: tuple[Tensor, Tensor],
    mask: Tensor | None,
    cache: Any,
    attend: Attend,
) -> Tensor:
    """What is read, before the projection that ends attention."""
    shape = (*x.shape[:2], -1, attn.head_dim)
    q, k, v = (_linear(p, x).view(shape) for p in (attn.q_proj, attn.k_proj, attn.v_proj))
    if hasattr(attn, "q_norm"):
        q, k = _norm(attn.q_norm, q), _norm(attn.k_norm, k)
    heads = q.shape[2]
    both = torch.cat((q, k), dim=2)
    both = both * turn[0] + both.roll(attn.head_dim // 2, -1) * turn[1]
    q, k, v = (t.transpose(1, 2) for t in (both[:, :, :heads], both[:, :, heads:], v))
    if cache is not None:
        k, v = cache.update(k, v, attn.layer_idx)
    out, _ = attend(attn, q, k, v, mask, dropout=0.0, scaling=attn.scaling)
    return out.reshape(*x.shape[:2], -1)


def _feed(mlp: Any, x: Tensor) -> Tensor:
    return _linear(mlp.down_proj, mlp.act_fn(_linear(mlp.gate_proj, x)) * _linear(mlp.up_proj, x))


def _norm(norm: Any, x: Tensor) -> Tensor:
    """The library's RMS norm; in half precision as it is, since it rounds before the weight."""
    if x.dtype != torch.float32 or type(norm) not in NORMS or not _bare(norm):
        return norm(x)
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _linear(layer: Any, x: Tensor) -> Tensor:
    """A plain layer without the call around it; any other (an adapter's) as it is."""
    if type(layer) is nn.Linear and _bare(layer):
        return F.linear(x, layer.weight, layer.bias)
    return layer(x)
