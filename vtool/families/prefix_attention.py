"""Attention over one row in which sequences share their beginnings, each computed once.

The attempts of a group answer the same prompt. Laid side by side, the prompt is computed once an
attempt. Here it stands once in the row, and what each attempt goes on with stands behind it as a
branch: it attends to the prefix and to itself, never to its neighbours. The results are those of
the whole sequences apart, but for rounding.

The layout travels in the place of the attention mask, as integers: an ordinary kernel refuses
such a mask, so that a model which does not know it cannot compute something else in silence.

Source: Liu et al., "Prefix Grouper: Efficient GRPO Training through Shared-Prefix Forward" (2025),
arXiv 2506.05433.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from vtool.errors import VToolError
from vtool.families.stack import PREFIX

Group = tuple[int, tuple[int, ...]]
"""Tokens of a prefix (0 for none), and of each branch behind it."""
LIKE = 16
"""Tokens by which branches may differ and still be attended for in one call."""


def layout(groups: Sequence[Group]) -> Tensor:
    """What `prefix_attention` takes as its mask.

    Args:
        groups: In the order in which they stand in the row, each prefix before its branches.

    Returns:
        int64 (1, 1, branches, 3), on the CPU: number of the group, tokens of its prefix, tokens
        of the branch.

    Raises:
        VToolError: No group, one without branches, or lengths that cannot be.
    """
    rows = [(n, prefix, own) for n, (prefix, branches) in enumerate(groups) for own in branches]
    if not rows or not all(b for _, b in groups) or any(p < 0 or own < 1 for _, p, own in rows):
        raise VToolError(f"expected groups of a prefix and branches of tokens, got {groups!r}")
    return torch.tensor(rows, dtype=torch.int64)[None, None]


def is_layout(mask: Tensor | None) -> bool:
    """Whether a mask is a layout of prefixes and branches."""
    return mask is not None and mask.dtype == torch.int64 and mask.dim() == 4


def prefix_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend; the signature is the library's. With any other mask it is the library's SDPA.

    Args:
        module: The attention layer.
        query: (1, heads, T, D).
        key: (1, key-value heads, T, D); heads is a multiple of key-value heads.
        value: Like ``key``.
        attention_mask: From `layout`.
        dropout: Of attention weights.
        scaling: Of the scores; None for 1 / sqrt(D).
        **more: What the library hands over beside these.

    Returns:
        (1, T, heads, D), and None for the weights.

    Raises:
        VToolError: The layout is for another row.
    """
    if attention_mask is None or not is_layout(attention_mask):
        out: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return out
    plan = tuple(map(tuple, attention_mask[0, 0].tolist()))
    calls, order = _laid(plan, query.dtype, query.device)
    if query.shape[0] != 1 or len(order) != query.shape[2]:
        raise VToolError(
            f"the layout is for one row of {len(order)} tokens, got {query.shape[0]} of "
            f"{query.shape[2]}"
        )
    row = [t[0].transpose(0, 1) for t in (query, key, value)]
    found = [_attend(call, *row, dropout=dropout, scale=scaling) for call in calls]
    return torch.cat(found).index_select(0, order)[None], None


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """Tokens of the row that are attended for at once: a prefix, or branches of like length.

    Args:
        reads: int64 (B, S), tokens that ask; a short branch repeats its last.
        sees: int64 (B, P + S), tokens that are seen: the prefix, then those that ask.
        mask: (S, P + S), 0 or minus infinity, causal from behind the prefix; None without one,
            where kernels know what is causal.
    """

    reads: Tensor
    sees: Tensor
    mask: Tensor | None


@lru_cache(maxsize=16)
def _laid(
    plan: tuple[tuple[int, int, int], ...], dtype: torch.dtype, device: torch.device
) -> tuple[tuple[_Call, ...], Tensor]:
    """A layout as indices; kept, since every layer and its recomputation ask again.

    Returns:
        The calls, and for each token of the row where its result stands among theirs.
    """
    calls: list[_Call] = []
    places: list[Tensor] = []
    start = 0
    for _, rows in groupby(plan, key=lambda row: row[0]):
        group = list(rows)
        prefix, sizes = group[0][1], [own for _, _, own in group]
        for before, reads, real in _asked(start, prefix, sizes):
            places.append(torch.where(real, reads, -1).flatten())
            seen = torch.arange(start, start + before).expand(len(reads), -1)
            sees = torch.cat((seen, reads), dim=1)
            mask = None
            if before:
                mask = torch.full((reads.shape[1], sees.shape[1]), -torch.inf, dtype=dtype)
                mask = mask.triu(before + 1).to(device)
            calls.append(_Call(reads.to(device), sees.to(device), mask))
        start += prefix + sum(sizes)
    where = torch.cat(places)
    real = torch.nonzero(where >= 0).flatten()
    order = torch.empty(start, dtype=torch.int64)
    order[where[real]] = real
    return tuple(calls), order.to(device)


def _asked(start: int, prefix: int, sizes: Sequence[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """For each call of a group: tokens before, (B, S) tokens that ask, which of them are there."""
    begins = list(accumulate(sizes, initial=start + prefix))
    if prefix:
        yield 0, *_ranges([start], [prefix])
    for like in _alike(sizes):
        yield prefix, *_ranges([begins[i] for i in like], [sizes[i] for i in like])


def _ranges(firsts: Sequence[int], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(B, S) positions from each start, and which of them are there; the rest repeat the last."""
    within = torch.arange(max(lengths)).expand(len(lengths), -1)
    sizes = torch.tensor(lengths)[:, None]
    return torch.tensor(firsts)[:, None] + torch.minimum(within, sizes - 1), within < sizes


def _alike(sizes: Sequence[int]) -> list[list[int]]:
    """Branches of like length, so that padding stays below a third where it costs anything."""
    out: list[list[int]] = []
    for number in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        width = sizes[out[-1][0]] if out else 0
        if not out or sizes[number] < width - max(LIKE, width // 4):
            out.append([])
        out[-1].append(number)
    return out


def _attend(
    call: _Call, query: Tensor, key: Tensor, value: Tensor, *, dropout: float, scale: float | None
) -> Tensor:
    """(B * S, heads, D); arguments are (T, heads, D) and (T, key-value heads, D)."""
    q, k, v = _taken(query, call.reads), _taken(key, call.sees), _taken(value, call.sees)
    attend = partial(scaled_dot_product_attention, scale=scale, dropout_p=dropout)
    if call.mask is None or masks_with_fewer_heads(q.device):
        causal = call.mask is None
        out = attend(q, k, v, attn_mask=call.mask, is_causal=causal, enable_gqa=True)
    else:
        # A copy of the keys for each query head would be kept for the backward pass; so the
        # query heads of one key-value head become further rows of it.
        count, heads, length, width = q.shape
        rows, mask = (
            q.reshape(count, k.shape[1], -1, width),
            call.mask.repeat(heads // k.shape[1], 1),
        )
        out = attend(rows, k, v, attn_mask=mask).view(count, heads, length, width)
    return out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[-1])


def masks_with_fewer_heads(device: torch.device) -> bool:
    """Whether kernels there take a mask together with fewer heads of keys than of queries."""
    return str(device.type) == "cpu"


def _taken(row: Tensor, index: Tensor) -> Tensor:
    """(B, heads, S, D) of (T, heads, D)."""
    return row.index_select(0, index.flatten()).view(*index.shape, *row.shape[1:]).transpose(1, 2)


def install(vlm: Any) -> bool:
    """Let a model's language tower read layouts as masks; with other masks nothing changes.

    Args:
        vlm: A `VLM`.

    Returns:
        Whether it does: a model that was loaded for another attention than ``sdpa`` keeps that.
    """
    if vlm.model.config._attn_implementation != "sdpa":
        return False
    vlm.language.config._attn_implementation = PREFIX
    return True


AttentionInterface.register(PREFIX, prefix_attention)
AttentionMaskInterface.register(PREFIX, sdpa_mask)
