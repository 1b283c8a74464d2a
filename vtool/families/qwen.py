"""The two Qwen-VL families: pixel rule, control tokens, positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.errors import RecordError
from vtool.families.base import Block, Patches, PixelSpec, Size
from vtool.families.pixels import clip_patches_of, patches_of, smart_resize
from vtool.families.positions import block_of, even_step, mrope, time_positions


@dataclass(frozen=True, slots=True)
class QwenVL:
    """A `Family`; see there for what each member promises."""

    name: str
    model_type: str
    """What ``config.json`` of its checkpoints says."""
    spec: PixelSpec
    frames_apart: bool
    """Whether text stands between the frames of a clip (each frame is then its own block)."""
    tokens_per_second: float = 0.0
    """Positions per second within a clip, where a clip is one block."""
    image_token: str = "<|image_pad|>"
    video_token: str = "<|video_pad|>"
    vision_start: str = "<|vision_start|>"
    vision_end: str = "<|vision_end|>"

    def shown_size(self, size: Size) -> Size:
        """Size at which a picture of ``size`` is shown."""
        return smart_resize(size, self.spec)

    def patches(self, pixels: NDArray[np.uint8]) -> Patches:
        """Resize and cut an (H, W, 3) RGB picture."""
        return patches_of(pixels, self.spec)

    def clip_patches(self, frames: Sequence[NDArray[np.uint8]]) -> Patches:
        """Resize and cut (H, W, 3) RGB frames of one size; the last is repeated to fill a unit."""
        return clip_patches_of(frames, self.spec)

    def block(
        self,
        start: int,
        grid: tuple[int, int, int],
        *,
        seconds: float = 0.0,
        times_s: Sequence[float] = (),
    ) -> Block:
        """A run of placeholders for position arithmetic.

        Args:
            start: Index of the first placeholder.
            grid: (t, h, w) in patches.
            seconds: Seconds between temporal units of a clip; 0 for a picture.
            times_s: Time of each temporal unit instead: evenly spaced ones are counted as the
                library counts them, others stand where their own times say.
        """
        rate, merge = self.tokens_per_second, self.spec.merge
        if not times_s or self.frames_apart:
            return block_of(start, grid, merge, seconds=seconds, rate=rate)
        even = even_step(times_s)
        block = block_of(start, grid, merge, seconds=even or 0.0, rate=rate)
        if even is not None:
            return block
        return dataclasses.replace(block, times=time_positions(times_s, rate))

    def positions(self, length: int, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """M-RoPE positions of a whole sequence, shape (3, length)."""
        return self.extend_positions(length, blocks, 0)[0]

    def extend_positions(
        self, length: int, blocks: Sequence[Block], start: int
    ) -> tuple[NDArray[np.int64], int]:
        """Positions of the next ``length`` tokens and of the token after them.

        Args:
            length: Tokens to add.
            blocks: Their placeholder runs, counted from the first added token.
            start: What the call before answered, 0 at the beginning.
        """
        if self.frames_apart and any(block.grid[0] != 1 for block in blocks):
            raise RecordError(f"{self.name} writes a clip frame by frame: one block a frame")
        return mrope(length, blocks, start=start)

    def with_spec(self, spec: PixelSpec) -> QwenVL:
        """The same family with another patch geometry or pixel bounds."""
        return dataclasses.replace(self, spec=spec)


QWEN25_VL = QwenVL(
    name="qwen25_vl",
    model_type="qwen2_5_vl",
    frames_apart=False,
    tokens_per_second=2.0,
    spec=PixelSpec(
        patch=14,
        merge=2,
        temporal=2,
        min_pixels=56 * 56,
        max_pixels=12_845_056,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
)
"""Source: Bai et al., "Qwen2.5-VL" (2025), and its published processor configuration."""

QWEN3_VL = QwenVL(
    name="qwen3_vl",
    model_type="qwen3_vl",
    frames_apart=True,
    spec=PixelSpec(
        patch=16,
        merge=2,
        temporal=2,
        min_pixels=65_536,
        max_pixels=16_777_216,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
)
"""Source: the Qwen3-VL technical report (2025) and its published processor configuration."""
