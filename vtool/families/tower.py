"""A faster walk through the library's vision towers, on their own weights.

The library embeds patches with a Conv3d over two frames and attends span by span. Here patches
are embedded by one matrix (the kernels summed where the frames are equal), and spans of one
length attend in one batched call. Weights, names and gradients are the library's; outputs agree
to rounding, and tests hold them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vtool.families.spans import Frame, Plan, Rows, Spans, plan


def walk(
    visual: nn.Module, values: Tensor, frames: Sequence[Frame]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Features of frames.

    Args:
        visual: The library's Qwen2.5-VL or Qwen3-VL vision model.
        values: Normalised patches (N, 3 * patch * patch) of doubled frames, or
            (N, 3 * temporal * patch * patch).
        frames: (h, w) of each frame in patches, in the order of their patches.

    Returns:
        Merged features (T, H) and one (T, H) tensor per deepstack layer.
    """
    steps = plan(tuple(frames), visual.spatial_merge_size, _window(visual))
    x = embed_patches(visual.patch_embed.proj, values)
    if hasattr(visual, "pos_embed"):
        x = x + _grid_embedding(visual, frames)
    x = _take(x, steps.patches)
    rotation = [_take(t, steps.patches) for t in _rotation(visual, frames)]
    deep: list[Tensor] = []
    for number, block in enumerate(visual.blocks):
        spans = _spans_of(visual, number, steps)
        if visual.training and visual.gradient_checkpointing and torch.is_grad_enabled():
            x = checkpoint(_block, block, x, rotation, spans, use_reentrant=False)
        else:
            x = _block(block, x, rotation, spans)
        if number in getattr(visual, "deepstack_visual_indexes", ()):
            deep.append(_take(visual.deepstack_merger_list[len(deep)](x), steps.back))
    return _take(visual.merger(x), steps.back), tuple(deep)


def _block(block: nn.Module, x: Tensor, rotation: Sequence[Tensor], spans: Spans) -> Tensor:
    x = x + _attend(block.attn, block.norm1(x), rotation, spans)
    return x + block.mlp(block.norm2(x))


def embed_patches(proj: nn.Conv3d, values: Tensor) -> Tensor:
    """Patch embedding; where both frames are equal, their kernels are summed first."""
    weight = proj.weight
    if values.shape[1] != weight[0].numel():
        weight = weight.sum(dim=2)
    return F.linear(values.to(weight.dtype), weight.flatten(1), proj.bias)


def _window(visual: nn.Module) -> int:
    if not hasattr(visual, "fullatt_block_indexes"):
        return 0
    return int(visual.window_size // visual.spatial_merge_size // visual.patch_size)


def _spans_of(visual: nn.Module, layer: int, steps: Plan) -> Spans:
    if steps.windows is None or layer in visual.fullatt_block_indexes:
        return steps.full
    return steps.windows


def _attend(attn: nn.Module, x: Tensor, rotation: Sequence[Tensor], spans: Spans) -> Tensor:
    q, k, v = attn.qkv(x).view(len(x), 3, attn.num_heads, -1).unbind(1)
    q, k = (_rotate(t, *rotation) for t in (q, k))
    q, k, v = (_take(t, spans.order) for t in (q, k, v))
    parts, at = [], 0
    for count, length in spans.groups:
        end = at + count * length
        shape = (count, length, attn.num_heads, -1)
        group = [t[at:end].view(shape).transpose(1, 2) for t in (q, k, v)]
        out = F.scaled_dot_product_attention(group[0], group[1], group[2], scale=attn.scaling)
        parts.append(out.transpose(1, 2).reshape(end - at, -1))
        at = end
    return attn.proj(_take(parts[0] if len(parts) == 1 else torch.cat(parts), spans.inverse))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.float().chunk(2, dim=-1)
    turned = torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
    return turned.to(x.dtype)


def _rotation(visual: nn.Module, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
    """Cosines and sines of half a head's angles, (N, 1, head_dim / 2)."""
    frequencies = visual.rotary_pos_emb.inv_freq.float()
    angles = {}
    for frame in dict.fromkeys(frames):
        places = torch.from_numpy(_places(frame, visual.spatial_merge_size))
        places = places.to(frequencies.device).float()
        angles[frame] = (places[:, :, None] * frequencies).flatten(1)[:, None]
    every = _each(angles, frames)
    return every.cos(), every.sin()


def _grid_embedding(visual: nn.Module, frames: Sequence[Frame]) -> Tensor:
    """The square table of learned positions, read bilinearly at the patches' places."""
    table = visual.pos_embed.weight
    side = int(len(table) ** 0.5)
    values = {}
    for frame in dict.fromkeys(frames):
        taps, weights = _bilinear(frame, visual.spatial_merge_size, side)
        taken = F.embedding(torch.from_numpy(taps).to(table.device), table)
        scale = torch.from_numpy(weights).to(table.device)[..., None]
        values[frame] = (taken * scale).sum(1).to(table.dtype)
    return _each(values, frames)


def _each(values: Mapping[Frame, Tensor], frames: Sequence[Frame]) -> Tensor:
    if len(values) == 1:
        (one,) = values.values()
        return one.repeat(len(frames), *[1] * (one.dim() - 1))
    return torch.cat([values[frame] for frame in frames])


def _take(x: Tensor, rows: Rows | None) -> Tensor:
    return x if rows is None else x[torch.from_numpy(rows).to(x.device)]


@lru_cache(maxsize=256)
def _places(frame: Frame, merge: int) -> Rows:
    """Row and column of each patch, (N, 2), merge block after merge block."""
    height, width = frame
    shape = (height // merge, merge, width // merge, merge)
    grid = np.indices(frame).reshape(2, *shape).transpose(1, 3, 2, 4, 0)
    return np.ascontiguousarray(grid.reshape(-1, 2))


@lru_cache(maxsize=256)
def _bilinear(frame: Frame, merge: int, side: int) -> tuple[Rows, NDArray[np.float32]]:
    """Four taps of the table and their weights a patch; corners are aligned."""
    scale = np.array([(side - 1) / max(n - 1, 1) for n in frame])
    place = (_places(frame, merge) * scale).astype(np.float32)
    low = np.floor(place)
    part = place - low
    taps = np.stack((low, np.minimum(low + 1, side - 1)), axis=-1).astype(np.int64)
    weights = np.stack((1 - part, part), axis=-1)
    index = taps[:, 0, :, None] * side + taps[:, 1, None, :]
    weight = weights[:, 0, :, None] * weights[:, 1, None, :]
    return index.reshape(-1, 4), weight.reshape(-1, 4)
