"""Demonstrations as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Qwen3VLForConditionalGeneration

from vtool.worlds.drawing import Pixels

from .expert import Demo
from .forward import Features, see
from .spec import SPEC
from .views import patchify, show, shown_size


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Right-padded rows; ``learn`` marks the tokens that the policy wrote."""

    ids: torch.Tensor
    """(B, T)."""
    learn: torch.Tensor
    """(B, T) bool."""
    positions: torch.Tensor
    """(3, B, T)."""
    views: list[Pixels]
    """All pictures of all rows, in order."""


def positions_of(ids: Sequence[int], image: int, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
    """M-RoPE positions of one row, (3, T).

    Args:
        ids: With placeholders expanded.
        image: Id of the placeholder.
        grids: h and w of each picture in merged tokens.

    Source: Qwen2-VL, section 2.1 (an image advances the position by its longer side).
    """
    out = torch.empty(3, len(ids), dtype=torch.long)
    i = at = 0
    left = iter(grids)
    while i < len(ids):
        if ids[i] != image:
            out[:, i] = at
            i, at = i + 1, at + 1
            continue
        h, w = next(left)
        rows = torch.arange(h).repeat_interleave(w)
        out[:, i : i + h * w] = at + torch.stack([rows * 0, rows, torch.arange(w).repeat(h)])
        i, at = i + h * w, at + max(h, w)
    return out


def grid_of(view: Pixels) -> tuple[int, int]:
    """H and w of a picture in merged tokens."""
    w, h = shown_size(view.shape[1], view.shape[0])
    return h // SPEC.factor, w // SPEC.factor


def collate(demos: Sequence[Demo], image: int, *, left: bool = False) -> Batch:
    """Pad rows to one length; the padding is id 0 and is never learnt.

    Args:
        demos: Rows.
        image: Id of the placeholder.
        left: Pad at the start (to generate) instead of the end (to train).
    """
    length = max(len(d.ids) for d in demos)
    ids = torch.zeros(len(demos), length, dtype=torch.long)
    learn = torch.zeros(len(demos), length, dtype=torch.bool)
    positions = torch.zeros(3, len(demos), length, dtype=torch.long)
    for row, demo in enumerate(demos):
        n = len(demo.ids)
        span = slice(length - n, length) if left else slice(0, n)
        ids[row, span] = torch.tensor(demo.ids)
        learn[row, span] = torch.tensor(demo.learn)
        positions[:, row, span] = positions_of(demo.ids, image, [grid_of(v) for v in demo.views])
    return Batch(ids, learn, positions, [v for d in demos for v in d.views])


def features(model: Qwen3VLForConditionalGeneration, views: Sequence[Pixels]) -> Features:
    """Encode pictures, each distinct one once, in the order given."""
    distinct = {id(v): v for v in views}
    groups: dict[tuple[int, int], list[int]] = {}
    for key, view in distinct.items():
        groups.setdefault(grid_of(view), []).append(key)
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for (h, w), keys in groups.items():
        patches = patchify([show(distinct[k]) for k in keys])
        final, deep = see(model, patches, (h * SPEC.merge, w * SPEC.merge))
        found.update(zip(keys, zip(final, deep, strict=True), strict=True))
    both = [found[id(v)] for v in views]
    return torch.cat([f for f, _ in both]), torch.cat([d for _, d in both])
