"""QVHighlights: recall at one and average precision of moments, and of highlights.

Source: moment_detr, `standalone_eval` (Lei, Berg, Bansal 2021). What is rounded there to two
decimals of a per cent is left exact here; `percent` rounds as it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .spans import Seconds, hull_iou, union_iou

THRESHOLDS: tuple[float, ...] = tuple(float(f"{t:.2f}") for t in np.linspace(0.5, 0.95, 10))
RANGES: dict[str, tuple[float, float]] = {
    "short": (0, 10), "middle": (10, 30), "long": (30, 150), "full": (0, 150),
}  # fmt: skip
"""Seconds of the annotated windows: longer than the first number, up to the second."""
MOST = 10
"""Windows of a prediction that count."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query: annotated windows, and predicted ones with their scores, best first.

    Args:
        wanted: Annotated windows.
        found: Predicted windows.
        scores: One a window; without them the order given is that of trust.
    """

    wanted: tuple[Seconds, ...]
    found: tuple[Seconds, ...]
    scores: tuple[float, ...] | None = None


def moment_table(queries: Sequence[Query], *, skip_empty: bool = False) -> dict[str, float]:
    """The official brief table, in [0, 1]: R1 at .5 and .7, mAP at .5, .75, averaged, by length.

    A range keeps the annotated windows of that length, and the queries that have one; predictions
    are not cut. Strictly, a query without a prediction counts 0. As published, average precision
    leaves such a query out (and recall fails on it).

    Args:
        queries: All of them.
        skip_empty: As published.
    """
    table: dict[str, float] = {}
    for name, bounds in RANGES.items():
        rows = [r for q in queries if (r := _of_length(q, bounds)).wanted]
        kept = [r for r in rows if r.found or not skip_empty]
        if not kept:
            continue
        ap = np.array([average_precision(r) for r in kept]).mean(axis=0)
        table[f"{name}-mAP"] = float(ap.mean())
        if name == "full":
            at = dict(zip(THRESHOLDS, ap.tolist(), strict=True))
            best = np.array([best_overlap(r) for r in kept])
            table |= {"full-mAP@0.5": at[0.5], "full-mAP@0.75": at[0.75]}
            table |= {f"full-R1@{t}": float((best >= t).mean()) for t in (0.5, 0.7)}
    return table


def _of_length(query: Query, bounds: tuple[float, float]) -> Query:
    low, high = bounds
    if bounds == RANGES["full"]:
        return query
    wanted = tuple(w for w in query.wanted if low < w[1] - w[0] <= high)
    return Query(wanted, query.found, query.scores)


def best_overlap(query: Query) -> float:
    """Overlap of the first predicted window with the annotated one that it meets best."""
    if not query.found:
        return 0.0
    return max((hull_iou(query.found[0], w) for w in query.wanted), default=0.0)


def average_precision(query: Query) -> list[float]:
    """Average precision of one query at each of `THRESHOLDS`.

    Each annotated window is matched at most once, by the most trusted prediction that meets it
    well enough; precision is interpolated as in VOC 2011.
    """
    found, scores = query.found[:MOST], query.scores
    if not found or not query.wanted:
        return [0.0] * len(THRESHOLDS)
    trust = scores[:MOST] if scores is not None else tuple(range(len(found), 0, -1))
    order = sorted(range(len(found)), key=lambda i: -trust[i])
    overlaps = [[union_iou(found[i], w) for w in query.wanted] for i in order]
    return [_precision(_hits(overlaps, t), len(query.wanted)) for t in THRESHOLDS]


def _hits(overlaps: Sequence[Sequence[float]], threshold: float) -> list[bool]:
    """Whether each prediction, most trusted first, meets a window that is still free."""
    taken: set[int] = set()
    hits = []
    for row in overlaps:
        best_first = sorted(range(len(row)), key=lambda j: (row[j], j), reverse=True)
        free = next((j for j in best_first if row[j] >= threshold and j not in taken), None)
        hits.append(free is not None)
        if free is not None:
            taken.add(free)
    return hits


def _precision(hits: Sequence[bool], wanted: int) -> float:
    right = np.cumsum(hits)
    precision = np.concatenate([[0.0], right / np.arange(1, len(hits) + 1), [0.0]])
    recall = np.concatenate([[0.0], right / wanted, [1.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def highlight_table(
    scores: Sequence[Sequence[float]], saliency: Sequence[NDArray[np.int64]]
) -> dict[str, float]:
    """HL-mAP and Hit@1 at the three levels of saliency, in [0, 1].

    Args:
        scores: Predicted saliency of each clip of each query; short ones are filled with 0.
        saliency: Annotated saliency, int (clips, 3 annotators), 0 to 4.
    """
    table: dict[str, float] = {}
    for name, least in (("Fair", 2), ("Good", 3), ("VeryGood", 4)):
        binary = [s >= least for s in saliency]
        aps = [_clip_ap(p, b[:, k]) for p, b in zip(scores, binary, strict=True) for k in range(3)]
        hits = [_hit(p, b) for p, b in zip(scores, binary, strict=True)]
        table |= {f"{name}-mAP": float(np.mean(aps)), f"{name}-Hit1": float(np.mean(hits))}
    return table


def _hit(scores: Sequence[float], binary: NDArray[np.bool_]) -> float:
    top = int(np.argmax(scores))
    return float(binary[top].any()) if top < len(binary) else 0.0


def _clip_ap(scores: Sequence[float], truth: NDArray[np.bool_]) -> float:
    """Mean over recalled clips of the interpolated precision; clips of one score count as one."""
    if truth.all() or not truth.any():
        return float(truth.all())
    padded = np.zeros(len(truth))
    padded[: len(scores)] = scores[: len(truth)]
    levels = np.unique(padded)
    chosen = padded[None, :] >= levels[:, None]  # rising thresholds: falling recall
    right = (chosen & truth).sum(axis=1)
    precision = np.concatenate([right / chosen.sum(axis=1), [1.0]])
    recall = np.concatenate([right / truth.sum(), [0.0]]).astype(np.float32)
    envelope = np.maximum.accumulate(precision)
    return float(envelope[np.where(np.diff(recall))].mean())


def percent(share: float) -> float:
    """A share in per cent with two decimals, as the official table writes it."""
    return float(f"{100 * share:.2f}")
