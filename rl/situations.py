"""Which steps answer the same observation: anchors of GiGPO."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np

from .advantage import AdvantageError
from .attempts import Ints, Seen


def situations(seen: tuple[Seen, ...], similarity: float = 1.0) -> Ints:
    """(S,) numbers, equal for steps that answer the same observation.

    Args:
        seen: What each step answers.
        similarity: Share of equal tokens from which two are the same; the first of its kind is
            what later ones are compared with.

    Raises:
        AdvantageError: The similarity lies outside (0, 1].
    """
    if not 0.0 < similarity <= 1.0:
        raise AdvantageError(f"similarity must lie in (0, 1], got {similarity}")
    kinds: list[Seen] = []
    out = np.zeros(len(seen), np.int64)
    for i, one in enumerate(seen):
        found = next((k for k, other in enumerate(kinds) if _alike(one, other, similarity)), None)
        if found is None:
            kinds.append(one)
        out[i] = len(kinds) - 1 if found is None else found
    return out


def _alike(a: Seen, b: Seen, similarity: float) -> bool:
    if a == b or similarity == 1.0 or a.pictures != b.pictures:
        return a == b
    try:
        left, right = (np.frombuffer(s.words, np.int32).tolist() for s in (a, b))
    except ValueError:  # text, not tokens
        left, right = list(a.words), list(b.words)
    return SequenceMatcher(None, left, right, autojunk=False).ratio() >= similarity
