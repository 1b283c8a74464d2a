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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
        mask: (S, P + S), 0 or minus infinity, causal from behind the prefix.
    """

    reads: Tensor
    sees: Tensor
    mask: Tensor


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
        begins = list(accumulate(sizes, initial=start + prefix))
        wanted = [(0, [start], [prefix])] if prefix else []
        wanted += [(prefix, [begins[i] for i in n], [sizes[i] for i in n]) for n in _alike(sizes)]
        for before, firsts, lengths in wanted:
            reads, real = _ranges(firsts, lengths)
            places.append(torch.where(real, reads, -1).flatten())
            seen = torch.arange(start, start + before).expand(len(reads), -1)
            sees = torch.cat((seen, reads), dim=1)
            mask = torch.full((reads.shape[1], sees.shape[1]), -torch.inf, dtype=dtype)
            calls.append(_Call(reads.to(device), sees.to(device), mask.triu(before + 1).to(device)))
        start = begins[-1]
    where = torch.cat(places)
    real = torch.nonzero(where >= 0).flatten()
    order = torch.empty(start, dtype=torch.int64)
    order[where[real]] = real
    return tuple(calls), order.to(device)


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
    q = _taken(query, call.reads)
    k, v = _taken(key, call.sees), _taken(value, call.sees)
    group = q.shape[1] // k.shape[1]
    # Kernels for CUDA take either a mask or fewer heads of keys.
    shared = group > 1 and q.device.type == "cpu"
    if group > 1 and not shared:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    out = scaled_dot_product_attention(
        q, k, v, attn_mask=call.mask, scale=scale, dropout_p=dropout, enable_gqa=shared
    )
    return out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[-1])


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
