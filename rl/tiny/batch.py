"""Demonstrations as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vtool.families import QwenVL
from vtool.families.base import Block, Patches
from vtool.families.vlm import VLM, VisionBatch
from vtool.worlds.drawing import Pixels

from .expert import Demo
from .spec import FAMILY


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded rows; ``learn`` marks the tokens that the policy wrote."""

    ids: torch.Tensor
    """(B, T)."""
    learn: torch.Tensor
    """(B, T) bool."""
    positions: torch.Tensor
    """(3, B, T)."""
    views: list[Pixels]
    """All pictures of all rows, in order."""


def positions_of(
    ids: Sequence[int], image: int, views: Sequence[Pixels], family: QwenVL = FAMILY
) -> torch.Tensor:
    """M-RoPE positions of one row, (3, T).

    Args:
        ids: With placeholders expanded.
        image: Id of the placeholder.
        views: Its pictures, in order.
        family: How they are cut.
    """
    factor = family.spec.factor
    blocks: list[Block] = []
    at = 0
    for view in views:
        w, h = family.shown_size((view.shape[1], view.shape[0]))
        grid = (1, h // factor, w // factor)
        at = ids.index(image, at)
        blocks.append(Block(at, grid))
        at += grid[1] * grid[2]
    return torch.from_numpy(family.positions(len(ids), blocks))


def collate(
    demos: Sequence[Demo], image: int, *, left: bool = False, family: QwenVL = FAMILY
) -> Batch:
    """Pad rows to one length; the padding is id 0 and is never learnt.

    Args:
        demos: Rows.
        image: Id of the placeholder.
        left: Pad at the start (to generate) instead of the end (to train).
        family: How pictures are cut.
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
        positions[:, row, span] = positions_of(demo.ids, image, demo.views, family)
    return Batch(ids, learn, positions, [v for d in demos for v in d.views])


def see(vlm: VLM, views: Sequence[Pixels]) -> tuple[VisionBatch, torch.Tensor]:
    """Encode pictures, each distinct one once, those of one grid together.

    Returns:
        Features of the distinct pictures, and the feature rows of ``views`` in order.
    """
    distinct = {id(v): v for v in views}
    groups: dict[tuple[int, int, int], list[tuple[int, Patches]]] = {}
    for key, view in distinct.items():
        patches = vlm.family.patches(view)
        groups.setdefault(patches.grid, []).append((key, patches))
    made = [vlm.encode([p for _, p in group]) for group in groups.values()]
    order = [key for group in groups.values() for key, _ in group]
    offsets = [0]
    for part in made:
        base = offsets[-1]
        offsets += [base + o for o in part.offsets[1:]]
    deep = zip(*(part.deepstack for part in made), strict=True)
    whole = VisionBatch(
        torch.cat([part.embeds for part in made]),
        tuple(torch.cat(layer) for layer in deep),
        tuple(offsets),
    )
    place = {key: i for i, key in enumerate(order)}
    return whole, whole.rows([place[id(v)] for v in views])
