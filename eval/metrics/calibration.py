"""Calibration: does stated confidence mean anything, with and without tools?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Stated:
    """One answer with its confidence.

    Args:
        confidence: In [0, 1].
        right: Whether the answer was right.
        kind: Tools that were used, or another group it belongs to.
    """

    confidence: float
    right: bool
    kind: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"expected a confidence in 0 to 1, got {self.confidence}")


def expected_calibration_error(stated: Sequence[Stated], bins: int = 15) -> float:
    """Mean over answers of |accuracy - mean confidence| of their bin.

    Bins are of equal width and closed above, (a, b]; a confidence of 0 is in the first.

    Source: Guo et al. 2017, equation 3.
    """
    if not stated:
        return 0.0
    confidence = np.array([s.confidence for s in stated])
    right = np.array([s.right for s in stated], float)
    edges = np.linspace(0.0, 1.0, bins + 1)
    at = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    gaps = np.bincount(at, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(stated))


def brier(stated: Sequence[Stated]) -> float:
    """Mean squared distance of confidence and outcome. Source: Brier 1950."""
    if not stated:
        return 0.0
    return math.fsum((s.confidence - s.right) ** 2 for s in stated) / len(stated)


def auroc(stated: Sequence[Stated]) -> float | None:
    """Chance that a right answer was stated with more confidence than a wrong one.

    Ties count half; None where all are right or all are wrong.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    right = np.sort([s.confidence for s in stated if s.right])
    wrong = np.sort([s.confidence for s in stated if not s.right])
    if not len(right) or not len(wrong):
        return None
    below = np.searchsorted(wrong, right, side="left").sum()
    level = np.searchsorted(wrong, right, side="right").sum()
    return float((below + level) / 2 / (len(right) * len(wrong)))


def calibration_table(
    stated: Sequence[Stated], bins: int = 15
) -> dict[str, Mapping[str, float | None]]:
    """All three over everything ("all") and over each kind, such as each tool or none."""
    kinds = sorted({s.kind for s in stated} - {""})
    groups = {"all": list(stated), **{k: [s for s in stated if s.kind == k] for k in kinds}}
    return {
        name: {
            "n": float(len(group)),
            "accuracy": sum(s.right for s in group) / len(group) if group else 0.0,
            "confidence": math.fsum(s.confidence for s in group) / len(group) if group else 0.0,
            "ECE": expected_calibration_error(group, bins),
            "Brier": brier(group),
            "AUROC": auroc(group),
        }
        for name, group in groups.items()
    }
