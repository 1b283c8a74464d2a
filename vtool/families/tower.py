"""A faster walk through the library's vision towers, on their own weights.

The library embeds patches with a Conv3d over two equal frames and attends picture by picture.
Here a still picture is embedded by one matrix (the two temporal kernels summed), and pictures of
one grid attend in one batched call. Weights, names and gradients are the library's; outputs
agree to rounding and are held there by tests.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Grid = tuple[int, int, int]


def can_batch(visual: nn.Module, grids: list[Grid]) -> bool:
    """Whether `forward_equal` may replace the tower's own forward.

    It may for a tower without windows, still pictures of one grid, and when no layer is to be
    recomputed in the backward pass (the library's own layers know how to do that).
    """
    windowed = hasattr(visual, "fullatt_block_indexes")
    recompute = bool(getattr(visual, "gradient_checkpointing", False)) and visual.training
    return not windowed and not recompute and len(set(grids)) == 1 and grids[0][0] == 1


def forward_equal(
    visual: nn.Module, slices: Tensor, grid: Grid, pictures: int
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Features of pictures that share a grid.

    Args:
        visual: The library's Qwen3-VL vision model.
        slices: Normalised patches, one temporal slice, (pictures * h * w, 3 * patch * patch).
        grid: (1, h, w) in patches.
        pictures: How many.

    Returns:
        Merged features (T, H) and one (T, H) tensor per deepstack layer.
    """
    x = embed_patches(visual.patch_embed.proj, slices) + _grid_embedding(visual, grid, pictures)
    rotation = _rotation(visual, grid, pictures)
    deep = []
    for number, block in enumerate(visual.blocks):
        x = x + _attend(block.attn, block.norm1(x), rotation, pictures)
        x = x + block.mlp(block.norm2(x))
        if number in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[len(deep)]
            deep.append(merger(x))
    return visual.merger(x), tuple(deep)


def embed_patches(proj: nn.Conv3d, slices: Tensor) -> Tensor:
    """Patch embedding of still pictures: the kernels of equal frames are summed."""
    weight = proj.weight.sum(dim=2).flatten(1)
    return F.linear(slices.to(weight.dtype), weight, proj.bias)


def _attend(attn: nn.Module, x: Tensor, rotation: tuple[Tensor, Tensor], pictures: int) -> Tensor:
    shape = (pictures, len(x) // pictures, 3, attn.num_heads, -1)
    q, k, v = attn.qkv(x).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
    cos, sin = rotation
    out = F.scaled_dot_product_attention(
        _rotate(q, cos, sin), _rotate(k, cos, sin), v, scale=attn.scaling
    )
    return attn.proj(out.transpose(1, 2).reshape(len(x), -1))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide = x.float()
    left, right = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-right, left), dim=-1) * sin).to(x.dtype)


def _rotation(visual: nn.Module, grid: Grid, pictures: int) -> tuple[Tensor, Tensor]:
    frequencies = visual.rotary_pos_emb.inv_freq.float()
    rows, columns = _order(grid[1], grid[2], visual.spatial_merge_size)
    places = torch.stack((rows, columns), dim=1).to(frequencies.device).float()
    angles = (places[:, :, None] * frequencies).flatten(1)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def _grid_embedding(visual: nn.Module, grid: Grid, pictures: int) -> Tensor:
    """The square table of learned positions, read bilinearly at the grid's places."""
    table = visual.pos_embed.weight
    side = int(len(table) ** 0.5)
    indices, weights = _bilinear(grid[1], grid[2], visual.spatial_merge_size, side)
    taken = F.embedding(indices.to(table.device), table)
    values = (taken * weights.to(table.device)[..., None]).sum(1)
    return values.to(table.dtype).repeat(pictures, 1)


@lru_cache(maxsize=256)
def _order(height: int, width: int, merge: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of patches in the order in which merge blocks lay them out."""
    shape = (height // merge, merge, width // merge, merge)
    rows = torch.arange(height)[:, None].expand(height, width).reshape(shape)
    columns = torch.arange(width)[None].expand(height, width).reshape(shape)
    return rows.transpose(1, 2).flatten(), columns.transpose(1, 2).flatten()


@lru_cache(maxsize=256)
def _bilinear(height: int, width: int, merge: int, side: int) -> tuple[Tensor, Tensor]:
    """Four taps and weights a patch, corners aligned."""
    rows, columns = _order(height, width, merge)
    row_taps, row_weights = _taps(rows, height, side)
    column_taps, column_weights = _taps(columns, width, side)
    indices = row_taps[:, :, None] * side + column_taps[:, None, :]
    weights = row_weights[:, :, None] * column_weights[:, None, :]
    return indices.flatten(1), weights.flatten(1)


def _taps(index: Tensor, size: int, side: int) -> tuple[Tensor, Tensor]:
    place = index.float() * (side - 1) / max(size - 1, 1)
    low = place.floor()
    part = place - low
    taps = torch.stack((low, low + 1), dim=1).long().clamp(max=side - 1)
    return taps, torch.stack((1 - part, part), dim=1)
