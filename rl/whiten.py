"""Credit over the deviation of the whole batch: what no single group can know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vtool.message import Author

from .advantage import Floats
from .credit import Credit
from .credit_spec import CreditSpec, Whiten


def settle(credits: Sequence[Credit], spec: CreditSpec) -> list[Credit]:
    """What only the whole batch can say: its deviation.

    Args:
        credits: Of all groups of a step.
        spec: Whether and how they are divided.

    Source: REINFORCE++ (arXiv 2501.03262); attempts are counted by default, tokens on demand.
    """
    if spec.whiten is Whiten.NONE or not credits:
        return list(credits)
    tokens = [_policy_values(c) for c in credits]
    if spec.whiten is Whiten.TOKEN:
        values = np.concatenate(tokens)
        shift = float(values.mean()) if len(values) else 0.0
    else:
        values, shift = _by_attempt(credits, tokens), 0.0
    if len(values) < 2:
        return list(credits)
    variance = float(np.square(values - shift).sum()) / (len(values) - 1)
    return [_affine(c, shift, 1.0 / np.sqrt(variance + spec.whiten_eps)) for c in credits]


def _policy_values(credit: Credit) -> Floats:
    """Credit of every policy token that is learnt in this context."""
    rows = list(zip(credit.context.segments, credit.laid, strict=True))[credit.first :]
    found = [np.full(len(s), c) for s, c in rows if s.author is Author.POLICY]
    return np.concatenate(found) if found else np.zeros(0)


def _by_attempt(credits: Sequence[Credit], tokens: Sequence[Floats]) -> Floats:
    """Mean credit of each attempt's tokens."""
    rows: dict[int, list[Floats]] = {}
    for credit, values in zip(credits, tokens, strict=True):
        rows.setdefault(id(credit.episode), []).append(values)
    joined = [np.concatenate(r) for r in rows.values()]
    return np.array([v.mean() for v in joined if len(v)])


def _affine(credit: Credit, shift: float, scale: float) -> Credit:
    policy = [s.author is Author.POLICY for s in credit.context.segments]
    base = tuple(
        (v - shift) * scale if p else v for v, p in zip(credit.segments, policy, strict=True)
    )
    extra = tuple(None if e is None else (e - shift) * scale for e in credit.tokens)
    return replace(credit, segments=base, tokens=extra)
