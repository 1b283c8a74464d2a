"""Draws of programs: functions of a key, like the draws of tokens, but never the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def chance(name: str, key: Sequence[int]) -> np.random.Generator:
    """A generator that belongs to a purpose and a key.

    Args:
        name: The purpose, such as ``branch``: equal keys give other draws for other purposes.
        key: Integers.

    Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011): Philox.
    """
    body = f"{name}:" + ",".join(str(int(k)) for k in key)
    seed = int.from_bytes(hashlib.blake2b(body.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=seed))
