"""Procedural clutter: backgrounds that prepare the policy for photographs it never saw."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from vtool.worlds.drawing import Pixels

SIDE = 800


@lru_cache(maxsize=2)
def textures(count: int = 16, seed: int = 0) -> tuple[Pixels, ...]:
    """Pictures (800, 800, 3) of coloured noise at several scales, with random rectangles."""
    return tuple(_texture(np.random.default_rng([seed, 77, i])) for i in range(count))


def _texture(rng: np.random.Generator) -> Pixels:
    tone = rng.uniform(10, 240) + rng.normal(0, 18, 3)
    field = np.zeros((SIDE, SIDE, 3), np.float32) + tone.astype(np.float32)
    for cells in (3, 8, 24, 80, 240):
        gray = rng.random() < 0.75
        noise = rng.normal(0, 1, (cells, cells, 1 if gray else 3)).repeat(3 if gray else 1, 2)
        field += rng.uniform(1, 20) * _enlarge(noise.astype(np.float32))
    for _ in range(int(rng.integers(0, 25))):
        x, y = rng.integers(0, SIDE, 2)
        w, h = rng.integers(8, 200, 2)
        block = field[y : y + h, x : x + w]
        color = rng.uniform(0, 255) + rng.normal(0, 25, 3)
        block += (color - block) * rng.uniform(0.2, 0.8)
    return np.clip(np.rint(field), 0, 255).astype(np.uint8)


def _enlarge(noise: np.ndarray) -> np.ndarray:
    planes = [Image.fromarray(noise[..., c]) for c in range(3)]
    return np.stack(
        [np.asarray(p.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for p in planes], 2
    )
