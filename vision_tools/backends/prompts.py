"""What a segmenter is asked with, in pixels, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Box, Point, Size
from vtool.media import Image


@dataclass(frozen=True, slots=True)
class Prompt:
    """A box, points on the thing, points off it; at least one box or point on it.

    Args:
        box: Around the thing.
        points: On it.
        exclude: Not on it.
    """

    box: Box | None = None
    points: tuple[Point, ...] = ()
    exclude: tuple[Point, ...] = ()

    @property
    def ambiguous(self) -> bool:
        """Whether several things may be meant: one point lies on a part and on its whole.

        Models then offer several masks and the best is taken; otherwise they give one, as SAM's
        library advises for boxes and for several points.
        """
        return self.box is None and len(self.points) + len(self.exclude) == 1

    def box_pixels(self, size: Size) -> NDArray[np.float64] | None:
        """x1, y1, x2, y2 (4,) in pixels of the picture."""
        if self.box is None:
            return None
        b, (w, h) = self.box, size
        return np.array([b.x1 * w, b.y1 * h, b.x2 * w, b.y2 * h])

    def point_pixels(self, size: Size) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """x, y (N, 2) in pixels, and 1 for points on the thing, 0 for those off it (N,)."""
        every = (*self.points, *self.exclude)
        if not every:
            return None
        places = np.array([[p.x * size[0], p.y * size[1]] for p in every])
        return places, np.array([1] * len(self.points) + [0] * len(self.exclude))


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """One segmentation.

    Args:
        cells: bool (H, W), of the picture's size.
        score: The segmenter's own, 0 to 1.
    """

    cells: NDArray[np.bool_]
    score: float


class Segmenter(Protocol):
    """Cuts things out of pictures."""

    def segment(self, image: Image, prompt: Prompt) -> Segmented:
        """The thing that the prompt means."""
        ...
