"""Many sequences in one row: which go together, and the arrays that keep them apart.

A packed row holds whole sequences end to end. Three things keep each of them what it was alone:
positions that start anew, attention inside its own segment, and targets that never cross a
border (`predictors`). Pictures must be handed over in the order of the items in the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vtool.errors import VToolError

Ints = NDArray[np.int64]

PADDING = -1
"""Segment id of positions that hold no token."""
FORWARD = 256
"""Tokens that cost as much as one more forward and backward pass, roughly."""


class PackingError(VToolError, ValueError):
    """Lengths or arrays that cannot be packed."""


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Put items into as few rows as first-fit-decreasing finds.

    Args:
        lengths: Tokens of each item, each at least 1.
        budget: Tokens that a row may hold; an item longer than that gets a row of its own.

    Returns:
        Indices of the items of each row, ascending inside a row. The same lengths give the same
        rows; ties go to the earlier item. No more than 11/9 of the fewest rows, plus one.

    Raises:
        PackingError: A length or the budget is below 1.

    Source: Johnson et al. (1974), first-fit-decreasing bin packing.
    """
    sizes = _sizes(lengths)
    if budget < 1:
        raise PackingError(f"a row must hold at least one token, got a budget of {budget}")
    rows: list[list[int]] = []
    room = np.zeros(len(sizes), np.int64)
    for item in np.argsort(-sizes, kind="stable"):
        fits = np.flatnonzero(room[: len(rows)] >= sizes[item])
        if fits.size:
            row = int(fits[0])
        else:
            row = len(rows)
            rows.append([])
            room[row] = budget
        rows[row].append(int(item))
        room[row] -= sizes[item]
    return [sorted(row) for row in rows]


def micro_batches(row_lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group rows so that rows x longest row stays within a budget, and little is padded.

    Rows are sorted by length and cut where computed tokens, a forward pass counted as `FORWARD`
    of them, are fewest: one long row among short ones goes alone and does not widen them all.

    Args:
        row_lengths: Tokens of each row.
        budget: Computed tokens of a micro-batch, padding included; a longer row goes alone.

    Returns:
        Indices of the rows of each micro-batch, longest first.

    Raises:
        PackingError: A length or the budget is below 1.
    """
    if budget < 1:
        raise PackingError(f"a micro-batch must hold at least one token, got {budget}")
    order = np.argsort(-_sizes(row_lengths), kind="stable").tolist()
    widths = np.asarray(row_lengths, np.int64)[order]
    cost, begin = np.zeros(len(order) + 1, np.int64), [0]
    for end in range(1, len(order) + 1):
        padded = widths[:end] * np.arange(end, 0, -1)
        # Wider and more rows to the left: those that fit are the last ones, at least one row.
        low = min(int(np.searchsorted(-padded, -budget)), end - 1)
        first = low + int(np.argmin(cost[low:end] + padded[low:]))
        cost[end] = cost[first] + FORWARD + padded[first]
        begin.append(first)
    batches, end = [], len(order)
    while end:
        batches.append(order[begin[end] : end])
        end = begin[end]
    return batches[::-1]


def waste(rows: Sequence[Sequence[int]], lengths: Sequence[int], width: int | None = None) -> float:
    """Computed over real tokens, at least 1.

    Args:
        rows: Items of each row.
        lengths: Tokens of each item.
        width: Tokens computed per row, for rows padded to one size; None for rows run at their
            own length.
    """
    filled = [sum(lengths[i] for i in row) for row in rows]
    return sum(max(width or 0, n) for n in filled) / sum(filled)


def segment_ids(rows: Sequence[Sequence[int]], width: int | None = None) -> Ints:
    """(B, L) number of the segment at each position, `PADDING` behind the last.

    Args:
        rows: Lengths of the segments of each row, in order.
        width: L; None for the longest row.

    Raises:
        PackingError: A row longer than the width, or a length below 1.
    """
    filled = [int(_sizes(row).sum()) for row in rows]
    size = max(filled, default=0) if width is None else width
    if max(filled, default=0) > size:
        raise PackingError(f"a row of {max(filled)} tokens does not fit into {size}")
    out = np.full((len(rows), size), PADDING, np.int64)
    for r, row in enumerate(rows):
        out[r, : filled[r]] = np.repeat(np.arange(len(row)), row)
    return out


def block_causal_mask(segments: Tensor) -> Tensor:
    """(B, 1, L, L) True where a query may look: same segment, not later.

    A padding position looks at itself alone, so that no row of the softmax is empty.

    Args:
        segments: (B, L) int64, from `segment_ids`.
    """
    same = segments[:, :, None] == segments[:, None, :]
    here = torch.arange(segments.shape[1], device=segments.device)
    causal = here[:, None] >= here[None, :]
    real = (segments != PADDING)[:, None, :]
    itself = here[:, None] == here[None, :]
    return ((same & causal & real) | itself)[:, None]


def concatenate(
    items: Sequence[ArrayLike] | Mapping[int, ArrayLike],
    rows: Sequence[Sequence[int]],
    fill: int = 0,
) -> NDArray[np.generic]:
    """Lay arrays of items end to end along their last axis, row by row.

    Args:
        items: (..., n_i) one array per item, by number: ids (n,), positions (3, n), log-probs (n,).
            Positions are taken as they are, so each segment starts anew.
        rows: Items of each row.
        fill: What stands behind the last item of a shorter row.

    Returns:
        (B, L) for flat items, (k, B, L) for items of shape (k, n).

    Raises:
        PackingError: No rows, or an empty one.
    """
    if not rows or not all(rows):
        raise PackingError("expected at least one row, and one item in each")
    filled = [np.concatenate([np.asarray(items[i]) for i in row], axis=-1) for row in rows]
    width = max(row.shape[-1] for row in filled)
    shape = (*filled[0].shape[:-1], len(rows), width)
    out = np.full(shape, fill, np.result_type(*filled))
    for number, row in enumerate(filled):
        out[..., number, : row.shape[-1]] = row
    return out


def predictors(selected: ArrayLike, segments: ArrayLike) -> tuple[Ints, Ints]:
    """Where the log-probs of selected tokens are read: one position to the left.

    Args:
        selected: (B, L) True at policy tokens.
        segments: (B, L) from `segment_ids`.

    Returns:
        (N,) flat indices into (B * L) of the hidden states that predict them, and (N,) flat
        indices of the tokens themselves, in reading order.

    Raises:
        PackingError: A selected token that opens its segment (nothing predicts it), or padding.
    """
    chosen, seg = np.asarray(selected, bool), np.asarray(segments)
    before = np.full_like(seg, PADDING)
    before[:, 1:] = seg[:, :-1]
    orphan = np.argwhere(chosen & ((before != seg) | (seg == PADDING)))
    if len(orphan):
        raise PackingError(
            f"the token at row {orphan[0][0]}, position {orphan[0][1]} is selected, but nothing "
            "of its own segment comes before it"
        )
    tokens = np.flatnonzero(chosen)
    return tokens - 1, tokens


def _sizes(lengths: Sequence[int]) -> Ints:
    sizes = np.asarray(lengths, np.int64).reshape(-1)
    if (sizes < 1).any():
        bad = int(np.flatnonzero(sizes < 1)[0])
        raise PackingError(f"item {bad} has {sizes[bad]} tokens, expected at least 1")
    return sizes
