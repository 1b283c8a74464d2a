"""Temporal grounding: overlap of spans, what an answer says of times, and the official tables.

Spans are (start, end) in seconds. Source of each rule stands at its function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Seconds: TypeAlias = tuple[float, float]

CHARADES: tuple[float, ...] = (0.3, 0.5, 0.7)
TACOS: tuple[float, ...] = (0.1, 0.3, 0.5)


def hull_iou(a: Seconds, b: Seconds) -> float:
    """Shared seconds over those from the first start to the last end, in [0, 1].

    Where the two meet this is the intersection over union; where they do not, both are 0.

    Source: the Charades-STA evaluation (Gao et al. 2017) as in lmms-eval 0.7.3.
    """
    hull = max(a[1], b[1]) - min(a[0], b[0])
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return max(0.0, shared) / hull if hull > 0 else 0.0


def union_iou(a: Seconds, b: Seconds) -> float:
    """Shared seconds over those in either; 0 where both are empty."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if union > 0 else 0.0


def recall_table(
    overlaps: Sequence[float], thresholds: Sequence[float] = CHARADES
) -> dict[str, float]:
    """R@1 at each threshold (an overlap equal to it counts) and the mean, in [0, 1].

    An answer without a span is an overlap of 0 and stays in the count.

    Source: Gao et al. 2017 (Charades-STA); ActivityNet-Captions and TACoS by other thresholds.
    """
    n = len(overlaps)
    table = {f"R1@{t:g}": sum(o >= t for o in overlaps) / n if n else 0.0 for t in thresholds}
    return {**table, "mIoU": math.fsum(overlaps) / n if n else 0.0}


_SPECIMEN = "a specific example is : 20.8 - 30.0 seconds"
_HINTS = ("start", "end", "happen")
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?"
_CLOCKS = re.compile(rf"\b({_CLOCK})\s*[–-]\s*({_CLOCK})\b")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*[–-]\s*(\d+(?:\.\d+)?)")
_RANGE_S = re.compile(r"(\d+(?:\.\d+)?)\s*s?\s*[–-]\s*(\d+(?:\.\d+)?)\s*s?")
_SINGLE = re.compile(r"\b(\d+(?:\.\d+)?)\b")


def charades_span(answer: str) -> Seconds | None:
    """The first span that an answer names, by the published reading; None without one.

    Sentences with "start", "end" or "happen" are looked at first; ranges of clock times, ranges
    of seconds, single clock times in pairs, the first number of each sentence in pairs. Ends in
    the wrong order are swapped. "to" is read as a dash wherever it stands.

    Source: lmms-eval 0.7.3, Charades-STA.
    """
    text = answer.lower().replace(_SPECIMEN, "").replace("to", "-")
    pieces = re.split(r"[!?\n]", text)
    told = [p for p in pieces if any(h in p for h in _HINTS)] or pieces
    pair = _first_range(told) or _pair_of_singles(told)
    if pair is None:
        found = next((m for p in told if (m := _RANGE_S.search(p))), None)
        pair = (float(found.group(1)), float(found.group(2))) if found else None
    return None if pair is None else (min(pair), max(pair))


def _first_range(pieces: Sequence[str]) -> Seconds | None:
    for piece in pieces:
        if found := _CLOCKS.search(piece):
            return _clock(found.group(1)), _clock(found.group(2))
    for piece in pieces:
        if found := _RANGE.search(piece):
            return float(found.group(1)), float(found.group(2))
    return None


def _pair_of_singles(pieces: Sequence[str]) -> Seconds | None:
    clocks = [_clock(c) for p in pieces for c in re.findall(rf"\b({_CLOCK})\b", p)]
    if len(clocks) >= 2:
        return clocks[0], clocks[1]
    singles = [float(found.group(1)) for p in pieces if (found := _SINGLE.search(p))]
    return (singles[0], singles[1]) if len(singles) >= 2 else None


def _clock(text: str) -> float:
    return math.fsum(float(part) * 60**i for i, part in enumerate(reversed(text.split(":"))))


@dataclass(frozen=True, slots=True)
class Grounding:
    """How one question of NExT-GQA came out.

    Args:
        iou: Best intersection over hull with an annotated stretch.
        iop: Best share of the named stretch that an annotated one holds.
        right: Whether the option was right.
    """

    iou: float
    iop: float
    right: bool


def ground_overlaps(found: Seconds | None, wanted: Sequence[Seconds]) -> tuple[float, float]:
    """IoU and IoP, each the best over the annotated stretches on its own.

    A stretch of no length inside an annotated one has IoU 0 and IoP 1, as published.

    Source: NExT-GQA, `eval_ground.py`.
    """
    if found is None:
        return 0.0, 0.0
    return (
        max([0.0, *(hull_iou(w, found) for w in wanted if found[0] != found[1])]),
        max([0.0, *(_iop(found, w) for w in wanted)]),
    )


def _iop(found: Seconds, wanted: Seconds) -> float:
    if found[0] == found[1]:
        return float(wanted[0] <= found[0] <= wanted[1])
    length = found[1] - found[0]
    return (min(found[1], wanted[1]) - max(found[0], wanted[0])) / length if length > 0 else 0.0


def gqa_table(
    results: Sequence[Grounding | None], *, skip_missing: bool = False
) -> dict[str, float]:
    """Acc@GQA and its company, in [0, 1].

    Acc@GQA is the share of questions with IoP >= .5 and the right option.

    Args:
        results: One a question; None where there is no prediction.
        skip_missing: As published, questions without a prediction are left out of the count;
            strictly they are wrong.

    Source: Xiao et al. 2024 (NExT-GQA), section 5; `eval_ground.py`.
    """
    none = Grounding(0.0, 0.0, False)
    rows = [r or none for r in results if r is not None or not skip_missing]
    n = len(rows) or 1
    shares: Mapping[str, list[float]] = {
        "Acc@GQA": [float(r.iop >= 0.5 and r.right) for r in rows],
        "Acc@QA": [float(r.right) for r in rows],
        "mIoP": [r.iop for r in rows],
        "IoP@0.3": [float(r.iop >= 0.3) for r in rows],
        "IoP@0.5": [float(r.iop >= 0.5) for r in rows],
        "mIoU": [r.iou for r in rows],
        "IoU@0.3": [float(r.iou >= 0.3) for r in rows],
        "IoU@0.5": [float(r.iou >= 0.5) for r in rows],
    }
    return {name: math.fsum(values) / n for name, values in shares.items()}
