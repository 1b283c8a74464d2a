"""How well stretches of time agree: overlap of spans, and the scales that rewards lay over it.

Pure functions of spans and numbers, shared by training and evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from vtool.errors import GeometryError
from vtool.geometry import Span, span_iou

LOW: Final = 0.2
HIGH: Final = 0.8
"""Overlaps at which a rescaled reward begins and is full."""

STEPS: Final[tuple[tuple[float, float], ...]] = ((0.8, 3.0), (0.7, 2.0), (0.5, 1.0))
"""(overlap, value): who lies above the overlap, not on it, gets the value."""


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same seconds as spans that neither overlap nor touch, in order."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start_s, s.end_s)):
        if out and span.start_s <= out[-1].end_s:
            out[-1] = Span(out[-1].start_s, max(out[-1].end_s, span.end_s))
        else:
            out.append(span)
    return tuple(out)


def covered_s(spans: Sequence[Span]) -> float:
    """Seconds that lie in at least one of the spans."""
    return math.fsum(s.end_s - s.start_s for s in merged(spans))


def shared_s(a: Sequence[Span], b: Sequence[Span]) -> float:
    """Seconds that lie in both."""
    ours, theirs = merged(a), merged(b)
    return math.fsum(
        max(0.0, min(p.end_s, q.end_s) - max(p.start_s, q.start_s)) for p in ours for q in theirs
    )


def spans_iou(a: Sequence[Span], b: Sequence[Span]) -> float:
    """Seconds in both over seconds in either, in [0, 1]; 0 where one side names nothing.

    Naming a span twice, or cutting it into pieces that touch, changes nothing.
    """
    both = shared_s(a, b)
    either = covered_s(a) + covered_s(b) - both
    return min(1.0, both / either) if either > 0 else 0.0


def hull_iou(a: Span, b: Span) -> float:
    """Overlap over the stretch from the first start to the last end.

    Equal to `span_iou` where the spans meet; both are 0 where they do not.

    Source: the temporal grounding scorers of lmms-eval.
    """
    shared = max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
    return shared / (max(a.end_s, b.end_s) - min(a.start_s, b.start_s))


def best_iou(found: Span, wanted: Sequence[Span]) -> float:
    """Overlap with the best-matching of several accepted spans; 0 without any.

    Source: the single-moment rule of QVHighlights.
    """
    return max((span_iou(found, w) for w in wanted), default=0.0)


def precision(found: Sequence[Span], wanted: Sequence[Span]) -> float:
    """Share of what was named that is wanted (IoP); 0 where nothing was named.

    Source: intersection over prediction of NExT-GQA.
    """
    named = covered_s(found)
    return min(1.0, shared_s(found, wanted) / named) if named > 0 else 0.0


def rescaled(overlap: float, low: float = LOW, high: float = HIGH) -> float:
    """``clamp((overlap - low) / (high - low), 0, 1)``.

    Args:
        overlap: In [0, 1].
        low: Overlap up to which there is no reward.
        high: Overlap from which there is no more.

    Raises:
        GeometryError: Bounds out of order.

    Source: VITAL (DGRPO), task-level scaling of the grounding reward.
    """
    if not 0 <= low < high <= 1:
        raise GeometryError(f"rescaling needs 0 <= low < high <= 1, got {low} and {high}")
    return min(1.0, max(0.0, (overlap - low) / (high - low)))


def stepped(overlap: float, steps: Sequence[tuple[float, float]] = STEPS) -> float:
    """The value of the highest step that the overlap lies above, strictly; 0 below all.

    Source: Ophiuchus, reward by overlap: above .8 three, above .7 two, above .5 one.
    """
    return next((value for level, value in steps if overlap > level), 0.0)
