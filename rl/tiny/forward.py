"""Fast forward passes over the library's own modules, for training on one core.

The weights live in a plain ``Qwen3VLForConditionalGeneration``. Only the order of work differs:
pictures of one grid go through attention as a batch, the patch embedding of a still picture is
one matrix product, and logits are made only where a token is learnt. Tests compare both ways.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from .spec import SPEC

Features = tuple[torch.Tensor, torch.Tensor]
"""Final and deepstack features, each (B, tokens, hidden)."""


def see(
    model: Qwen3VLForConditionalGeneration, patches: torch.Tensor, grid: tuple[int, int]
) -> Features:
    """Encode views of one grid.

    Args:
        model: The policy.
        patches: (B, h * w, 192) uint8.
        grid: h and w in patches.
    """
    visual = model.model.visual
    b, n, _ = patches.shape
    mean = torch.tensor(SPEC.mean).repeat_interleave(SPEC.patch**2)
    std = torch.tensor(SPEC.std).repeat_interleave(SPEC.patch**2)
    x = (patches.float() / 255 - mean) / std
    weight = visual.patch_embed.proj.weight.sum(2).flatten(1)
    x = functional.linear(x, weight, visual.patch_embed.proj.bias)
    positions, table = _grid_embeddings(visual, grid)
    x = x + table
    cos, sin = visual.rotary_pos_emb(x, positions)
    deep = []
    for i, block in enumerate(visual.blocks):
        x = x + _attend(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
        if i in visual.deepstack_visual_indexes:
            deep.append(visual.deepstack_merger_list[len(deep)](x.reshape(b * n, -1)))
    merged = visual.merger(x.reshape(b * n, -1))
    tokens = n // SPEC.merge**2
    return merged.reshape(b, tokens, -1), deep[0].reshape(b, tokens, -1)


def _grid_embeddings(
    visual: torch.nn.Module, grid: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary coordinates (2, n) and interpolated position embeddings (n, hidden) of a grid."""
    from transformers.vision_utils import (
        get_vision_interpolation_indices_and_weights,
        get_vision_position_ids,
    )

    thw = torch.tensor([[1, *grid]])
    positions = get_vision_position_ids(thw, SPEC.merge, kwargs={})
    indices, weights = get_vision_interpolation_indices_and_weights(
        thw,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=SPEC.merge,
        kwargs={},
    )
    return positions, (visual.pos_embed(indices) * weights[:, :, None]).sum(1)


def _attend(
    attention: torch.nn.Module, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    b, n, width = x.shape
    q, k, v = attention.qkv(x).reshape(b, n, 3, attention.num_heads, -1).unbind(2)
    q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
    out = functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    )
    return attention.proj(out.transpose(1, 2).reshape(b, n, width))


def read(
    model: Qwen3VLForConditionalGeneration,
    ids: torch.Tensor,
    positions: torch.Tensor,
    features: Features,
    **kwargs: object,
) -> torch.Tensor:
    """Hidden states of right-padded sequences (causal attention needs no mask then).

    Args:
        model: The policy.
        ids: (B, T) with placeholders expanded.
        positions: (3, B, T).
        features: Final and deepstack features of all pictures in order, each (tokens, hidden).
        **kwargs: Passed to the language model (a cache, an attention mask).

    Returns:
        (B, T, hidden).
    """
    language = model.model.language_model
    embeds = language.embed_tokens(ids)
    mask = ids == model.config.image_token_id
    embeds = embeds.masked_scatter(mask[..., None], features[0].to(embeds.dtype))
    out = language(
        inputs_embeds=embeds,
        position_ids=positions,
        visual_pos_masks=mask,
        deepstack_visual_embeds=[features[1]],
        **kwargs,
    )
    return out.last_hidden_state
