"""Who attends to whom in a vision tower, arranged so that equal spans run in one batched call.

A picture attends within itself, and in Qwen2.5-VL mostly within square windows. The library
calls attention once a span; here spans of one length are made neighbours and share a call.
numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Frame = tuple[int, int]
"""Height and width of a frame in patches."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """How to bring equally long spans together."""

    groups: tuple[tuple[int, int], ...]
    """(spans, patches in each), in the order in which they lie after `order`."""
    order: Rows | None
    """Patches to take, counted in the base order; None: they lie right already."""
    inverse: Rows | None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The base order of a walk through the tower, and the spans seen from it."""

    patches: Rows | None
    """Patches in base order; None: as they come."""
    back: Rows | None
    """Merged tokens in base order back to the order in which they came."""
    full: Spans
    windows: Spans | None


@lru_cache(maxsize=128)
def plan(frames: tuple[Frame, ...], merge: int, window: int) -> Plan:
    """Arrange frames for a tower.

    Args:
        frames: In the order of their patches.
        merge: Patches merged per side; a merged token's patches always stay together.
        window: Side of a window in merged tokens; 0 for a tower without windows.
    """
    sizes = [h * w // merge**2 for h, w in frames]
    frame_of = np.repeat(np.arange(len(frames)), sizes)
    if not window:
        base, groups = arrange(frame_of, merge)
        full, windows = Spans(groups, None, None), None
    else:
        base, groups = arrange(_window_of(frames, merge, window), merge)
        windows = Spans(groups, None, None)
        order, groups = arrange(frame_of[base], merge)
        rows = _rows(order, merge)
        full = Spans(groups, rows, None if rows is None else np.argsort(rows))
    back = None if _is_identity(base) else np.argsort(base)
    return Plan(_rows(base, merge), back, full, windows)


def arrange(span_of: Rows, merge: int) -> tuple[Rows, tuple[tuple[int, int], ...]]:
    """Bring merged tokens of a span, and spans of one length, together.

    Args:
        span_of: Number of each merged token's span.
        merge: Patches merged per side.

    Returns:
        Merged tokens in their new order, and (spans, patches in each) along it.
    """
    _, compact, counts = np.unique(span_of, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    lengths, spans = np.unique(counts, return_counts=True)
    groups = tuple((int(n), int(c) * merge**2) for n, c in zip(spans, lengths, strict=True))
    return np.argsort(rank[compact], kind="stable"), groups


def _window_of(frames: Sequence[Frame], merge: int, window: int) -> Rows:
    parts, first = [], 0
    for height, width in frames:
        rows, columns = np.divmod(np.arange(height // merge * (width // merge)), width // merge)
        across = -(-(width // merge) // window)
        parts.append(first + rows // window * across + columns // window)
        first += across * -(-(height // merge) // window)
    return np.concatenate(parts)


def _rows(units: Rows, merge: int) -> Rows | None:
    """Patches of merged tokens in this order; None if nothing moves."""
    if _is_identity(units):
        return None
    return (units[:, None] * merge**2 + np.arange(merge**2)).reshape(-1)


def _is_identity(order: Rows) -> bool:
    return bool((order == np.arange(len(order))).all())
