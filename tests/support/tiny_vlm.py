"""Small random models of both families, and conversations with pictures for them."""

import dataclasses
from functools import cache

import numpy as np
import torch
from pictures import textured

from vtool.families.positions import mm_token_type_ids
from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM

VOCAB = 120
NAMES = ("qwen25_vl", "qwen3_vl")


def build(name, **config):
    """A fresh model; equal calls give equal weights."""
    torch.manual_seed(0)
    vlm = VLM.from_config(random_config(name, vocab_size=VOCAB, **config))
    spec = dataclasses.replace(vlm.family.spec, min_pixels=256, max_pixels=65_536)
    vlm.family = vlm.family.with_spec(spec)
    return vlm


@cache
def shared(name):
    """The same model for every test that only reads it."""
    return build(name).requires_grad_(False)


def pictures(vlm, sizes, seed=0):
    return [vlm.family.patches(textured(*size, seed + i)) for i, size in enumerate(sizes)]


def conversation(vlm, turns, seed=0):
    """Ids and blocks of turns; a turn is (text tokens, pictures, text tokens)."""
    rng = np.random.default_rng(seed)
    ids, blocks = [], []
    for before, shown, after in turns:
        ids += rng.integers(0, VOCAB - 8, before).tolist()
        for picture in shown:
            ids.append(vlm.vision_start_id)
            blocks.append(vlm.family.block(len(ids), picture.grid))
            ids += [vlm.image_token_id] * picture.tokens(vlm.family.spec.merge)
            ids.append(vlm.vision_end_id)
        ids += rng.integers(0, VOCAB - 8, after).tolist()
    return np.array(ids), blocks


def pad(rows, value=0, left=False):
    """(B, L) ids and mask of rows of different lengths."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), value)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        at = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, at] = torch.as_tensor(row)
        mask[i, at] = 1
    return ids, mask


def batch(vlm, conversations, left=False):
    """Ids, positions and mask of (ids, blocks) pairs."""
    ids, mask = pad([c[0] for c in conversations], left=left)
    positions = torch.zeros(3, *ids.shape, dtype=torch.long)
    for i, (row, blocks) in enumerate(conversations):
        positions[:, i, mask[i].bool()] = torch.from_numpy(vlm.family.positions(len(row), blocks))
    return ids, positions, mask


def library_logits(vlm, ids, mask, patches):
    """The plain library forward, with its own positions and its own vision path."""
    from vtool.families.pixels import normalise

    vlm.model.model.rope_deltas = None
    raw = torch.cat([torch.from_numpy(p.data) for p in patches])
    types = mm_token_type_ids(ids.numpy(), vlm.image_token_id, vlm.video_token_id)
    return vlm.model(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=normalise(raw, vlm.family.spec),
        image_grid_thw=torch.tensor([p.grid for p in patches]),
        mm_token_type_ids=torch.from_numpy(types),
    ).logits
