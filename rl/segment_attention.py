"""Attention inside each segment of a packed row, without a mask over the whole row.

A boolean block mask costs L x L for a row of L tokens, most of it forbidden. Here each segment
is attended to on its own with the causal kernel of SDPA, so a packed row costs what its
sequences cost alone. It is registered with transformers under a name of ours; on a GPU a
varlen kernel (`flash_attention_2`) takes the same `cu_seq_lens_q`.

    install(model)                                # once
    model.model.language_model(
        inputs_embeds=..., position_ids=...,      # (1, L, H), (3, 1, L): one row at a time
        attention_mask={"full_attention": None},
        **segment_kwargs(boundaries(lengths)),
    )
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vtool.errors import VToolError, require

NAME = "vtool_segments"


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each segment of one row.

    Args:
        module: The attention layer (unused; the signature is that of transformers).
        query: (1, heads, L, d).
        key: (1, kv_heads, L, d); heads is a multiple of kv_heads.
        value: (1, kv_heads, L, d).
        attention_mask: None.
        scaling: Of the logits; None for 1 / sqrt(d).
        cu_seq_lens_q: (S + 1,) borders of the segments; None for one segment.

    Returns:
        (1, L, heads, d), and None in the place of the weights.

    Raises:
        VToolError: More than one row, or a mask.
    """
    if attention_mask is not None or query.shape[0] != 1:
        raise VToolError(
            f"segment attention takes one row without a mask, got {query.shape[0]} rows; hand "
            "over attention_mask={'full_attention': None}"
        )
    ends = [query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q[1:].tolist()
    sizes = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    parts = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        for q, k, v in zip(
            query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True
        )
    ]
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None


def segment_kwargs(borders: Any) -> dict[str, Tensor | int]:
    """What a forward pass needs to know of one row's segments.

    Args:
        borders: (S + 1,) from `packing.boundaries`.
    """
    ends = torch.as_tensor(borders, dtype=torch.int32)
    longest = int((ends[1:] - ends[:-1]).max())
    return {
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def install(model: Any) -> None:
    """Let the language tower of a transformers model attend by segments.

    The vision tower keeps its own attention.

    Args:
        model: A model with `model.language_model`, such as Qwen2.5-VL or Qwen3-VL.
    """
    modeling = require("transformers.modeling_utils", "train")
    modeling.AttentionInterface.register(NAME, segment_attention)
    tower = model.model.language_model
    tower.config._attn_implementation = NAME
