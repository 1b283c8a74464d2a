"""Box tracks: where something is in the frame at some times, and how well two of them agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vtool.errors import FaultCode, GeometryError
from vtool.geometry import Box, Span, iou

TOLERANCE_S: Final = 0.05
"""Times that differ by no more are the same frame: answers are written to the tenth."""


@dataclass(frozen=True, slots=True)
class Track:
    """One thing's boxes over time.

    Args:
        times_s: Seconds from the start of the clip, rising, at least one.
        boxes: One for each time, unit coordinates of the frame.
    """

    times_s: tuple[float, ...]
    boxes: tuple[Box, ...]

    def __post_init__(self) -> None:
        times = self.times_s
        if not times or len(times) != len(self.boxes):
            raise GeometryError(
                f"a track needs a box for each of its times, got {len(times)} times and "
                f"{len(self.boxes)} boxes"
            )
        finite = all(math.isfinite(t) and t >= 0 for t in times)
        if not finite or any(b <= a for a, b in itertools.pairwise(times)):
            raise GeometryError(
                f"a track needs rising times from 0 on, got {list(times)}", FaultCode.BAD_WINDOW
            )

    @property
    def span(self) -> Span | None:
        """From its first time to its last; None where there is only one."""
        first, last = self.times_s[0], self.times_s[-1]
        return Span(first, last) if last > first else None


def track_viou(found: Track, wanted: Track, tolerance_s: float = TOLERANCE_S) -> float:
    """Spatio-temporal overlap, in [0, 1]: overlaps at common times over times in either.

    ``sum over t in both of IoU(t) / number of times in either``: boxes at times where there is
    nothing cost as much as times left out.

    Args:
        found: A guess.
        wanted: The truth.
        tolerance_s: Times this near are the same.

    Source: vIoU of the spatio-temporal grounding benchmarks VidSTG and HC-STVG.
    """
    shared = [iou(a, b) for a, b in common(found, wanted, tolerance_s)]
    either = len(found.times_s) + len(wanted.times_s) - len(shared)
    return math.fsum(shared) / either


def track_iou(found: Track, wanted: Track, tolerance_s: float = TOLERANCE_S) -> float:
    """Mean overlap over the times of the truth; 0 at those that the guess leaves out."""
    shared = [iou(a, b) for a, b in common(found, wanted, tolerance_s)]
    return math.fsum(shared) / len(wanted.times_s)


def common(found: Track, wanted: Track, tolerance_s: float) -> Iterator[tuple[Box, Box]]:
    """Boxes of both at times that are the same, each used once, in order of time."""
    i = j = 0
    while i < len(found.times_s) and j < len(wanted.times_s):
        gap = found.times_s[i] - wanted.times_s[j]
        if abs(gap) <= tolerance_s + 1e-9:
            yield found.boxes[i], wanted.boxes[j]
            i, j = i + 1, j + 1
        elif gap < 0:
            i += 1
        else:
            j += 1
