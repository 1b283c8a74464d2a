"""Attention that reads shared key-value heads where they lie.

The library copies every key-value head once per query head before it attends with a mask. In
decoding that copy is most of the work. Here the query heads of a group become further query rows
of their key-value head, which is the same sum in another order of indices.

Source: Ainslie et al., "GQA" (2023), section 2.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from vtool.families.stack import GROUPED
from vtool.families.vlm import VLM


def grouped(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend; the signature is the library's.

    Args:
        module: The attention layer.
        query: (B, heads, L, D).
        key: (B, key-value heads, T, D).
        value: Like ``key``.
        attention_mask: bool (B, 1, L, T); `causal_mask` means plain causal, L = T.
        dropout: Of attention weights; engines never train, so it is not used.
        scaling: Of the scores.

    Returns:
        (B, L, heads, D), and None for the weights.
    """
    rows, heads, length, width = query.shape
    group = heads // key.shape[1]
    if attention_mask is not None and attention_mask.shape[-2] != length:
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        return out.transpose(1, 2), None
    query = query.reshape(rows, heads // group, group * length, width)
    if attention_mask is not None and length > 1:
        attention_mask = attention_mask.repeat(1, 1, group, 1)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(rows, heads, length, width).transpose(1, 2), None


def causal_mask(device: torch.device) -> Tensor:
    """What `grouped` reads as plain causal attention: a mask without a row per query."""
    return torch.ones(1, 1, 0, 1, dtype=torch.bool, device=device)


AttentionInterface.register(GROUPED, grouped)


@contextmanager
def lean_attention(vlm: VLM) -> Iterator[bool]:
    """Let the language model use `grouped` inside the context.

    Yields:
        Whether it does. A model that was loaded for eager attention keeps that; what a learner
        set on the language model alone is put back afterwards.
    """
    config = vlm.model.config.text_config
    before = config._attn_implementation
    if vlm.model.config._attn_implementation != "sdpa":
        yield False
        return
    config._attn_implementation = GROUPED
    try:
        yield True
    finally:
        config._attn_implementation = before
