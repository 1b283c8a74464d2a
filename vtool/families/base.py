"""What every model family must say about pixels, placeholder tokens and positions.

This room is numpy only. The torch half (``vlm.py``) wraps a real transformers model of the
same family. Nothing here knows a wire syntax, a tool or a reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height in pixels, in that order, everywhere."""


@dataclass(frozen=True, slots=True)
class PixelSpec:
    """How a family cuts a picture into patches.

    Source: the published image processor configurations of Qwen2.5-VL and Qwen3-VL.
    """

    patch: int
    """Side of a patch, in pixels."""
    merge: int
    """Patches merged per side into one image token."""
    temporal: int
    """Frames per temporal patch; a still picture is repeated that many times."""
    min_pixels: int
    max_pixels: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def factor(self) -> int:
        """Shown sides are multiples of this many pixels."""
        return self.patch * self.merge


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """One picture or clip as its family's vision tower reads it, before normalisation."""

    data: NDArray[np.uint8]
    """(N, 3 * patch * patch), channel first inside a patch, merge blocks contiguous; of clips
    (N, 3 * temporal * patch * patch): channel, frame, row, column."""
    grid: tuple[int, int, int]
    """(t, h, w) in patches; N = t * h * w."""
    shown: Size
    """Size at which the picture is shown: (w * patch, h * patch)."""

    def tokens(self, merge: int) -> int:
        """Count of placeholder tokens that this picture takes."""
        t, h, w = self.grid
        return t * h * w // (merge * merge)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of placeholder tokens in a sequence, for position arithmetic."""

    start: int
    """Index of the first placeholder."""
    grid: tuple[int, int, int]
    """(t, h, w) in *merged* tokens; the run has t * h * w placeholders."""
    step: float = 1.0
    """Positions per temporal unit (Qwen2.5-VL video: tokens_per_second * seconds per unit)."""
    times: tuple[int, ...] = ()
    """Position of each temporal unit instead, where units are not evenly spaced."""


class Family(Protocol):
    """The numpy half of a model family."""

    @property
    def name(self) -> str:
        """Name in the registry of families."""
        ...

    @property
    def spec(self) -> PixelSpec:
        """Patch geometry and pixel bounds."""
        ...

    @property
    def frames_apart(self) -> bool:
        """Whether text stands between the temporal units of a clip: each is then its own run."""
        ...

    @property
    def image_token(self) -> str:
        """Placeholder of a picture."""
        ...

    @property
    def video_token(self) -> str:
        """Placeholder of a clip."""
        ...

    @property
    def vision_start(self) -> str:
        """Stands before placeholders."""
        ...

    @property
    def vision_end(self) -> str:
        """Stands after them."""
        ...

    def shown_size(self, size: Size) -> Size:
        """Size at which a picture of ``size`` is shown.

        Raises:
            GeometryError: The aspect ratio is beyond what the family accepts.
        """
        ...

    def patches(self, pixels: NDArray[np.uint8]) -> Patches:
        """Resize and cut an (H, W, 3) RGB picture."""
        ...

    def clip_patches(self, frames: Sequence[NDArray[np.uint8]]) -> Patches:
        """Resize and cut frames of one size, `spec.temporal` of them to a temporal unit."""
        ...

    def block(
        self,
        start: int,
        grid: tuple[int, int, int],
        *,
        seconds: float = 0.0,
        times_s: Sequence[float] = (),
    ) -> Block:
        """A run of placeholders for position arithmetic, from its grid in patches."""
        ...

    def positions(self, length: int, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """M-RoPE positions of a whole sequence, shape (3, length)."""
        ...

    def with_spec(self, spec: PixelSpec) -> Family:
        """The same family with another patch geometry or other pixel bounds."""
        ...
