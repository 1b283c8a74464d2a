"""A tokenizer and a family without any library: for tests, examples and dry runs.

Every byte is a token, so every text has exact ids; pictures are cut by numpy and pillow alone.
No model reads this: a scripted policy plays whole episodes with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import CheckpointError, FaultCode, GeometryError
from vtool.families.base import Block, Patches, PixelSpec, Size
from vtool.families.pixels import cut

CONTROLS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<grounding>",
    "</grounding>",
)


class PlainCodec:
    """A `Codec` of bytes: ids 0 to 255 are bytes, control tokens follow.

    Args:
        controls: The control tokens it has.
    """

    def __init__(self, controls: Sequence[str] = CONTROLS) -> None:
        self._ids = {token: 256 + i for i, token in enumerate(controls)}
        self._bytes = [bytes([i]) for i in range(256)] + [c.encode() for c in controls]
        self.control_ids = frozenset(self._ids.values())

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self._bytes)

    def token_id(self, token: str) -> int:
        """Id of a control token.

        Raises:
            CheckpointError: It has no such token.
        """
        if token not in self._ids:
            raise CheckpointError(
                f"the codec has no token {token!r}; it has {', '.join(self._ids)}"
            )
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        """The bytes of a text."""
        return list(text.encode())

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """Bytes of each token."""
        return [self._bytes[int(i)] for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.pieces(ids)).decode("utf-8", errors="replace")


_SPEC = PixelSpec(
    patch=16,
    merge=1,
    temporal=1,
    min_pixels=16 * 16,
    max_pixels=64 * 64,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


@dataclass(frozen=True, slots=True)
class PlainFamily:
    """A `Family` of square patches; see there for what each member promises."""

    name: str = "plain"
    spec: PixelSpec = field(default=_SPEC)
    frames_apart: bool = True
    image_token: str = "<|image_pad|>"
    video_token: str = "<|video_pad|>"
    vision_start: str = "<|vision_start|>"
    vision_end: str = "<|vision_end|>"

    def shown_size(self, size: Size) -> Size:
        """Nearest sides in whole patches, shrunk or grown into the pixel bounds."""
        width, height = size
        if min(size) < 1 or max(size) / min(size) > 200:
            raise GeometryError(f"cannot show a picture of {size}", FaultCode.BAD_ASPECT)
        f, low, high = self.spec.factor, self.spec.min_pixels, self.spec.max_pixels
        scale = math.sqrt(min(max(width * height, low), high) / (width * height))
        whole = math.floor if width * height > high else round
        w, h = (max(1, whole(side * scale / f)) for side in size)
        while w * h * f * f > high and max(w, h) > 1:
            w, h = (w - 1, h) if w >= h else (w, h - 1)
        return w * f, h * f

    def patches(self, pixels: NDArray[np.uint8]) -> Patches:
        """Resize (nearest) and cut an (H, W, 3) RGB picture."""
        width, height = self.shown_size((pixels.shape[1], pixels.shape[0]))
        near = PILImage.Resampling.NEAREST
        shown = np.asarray(PILImage.fromarray(pixels).resize((width, height), near))
        return cut(shown, self.spec)

    def clip_patches(self, frames: Sequence[NDArray[np.uint8]]) -> Patches:
        """A frame is a temporal unit of its own: one picture."""
        (frame,) = frames
        return self.patches(frame)

    def block(
        self,
        start: int,
        grid: tuple[int, int, int],
        *,
        seconds: float = 0.0,
        times_s: Sequence[float] = (),
    ) -> Block:
        """A run of placeholders; time moves nothing here."""
        return Block(start, (grid[0], grid[1] // self.spec.merge, grid[2] // self.spec.merge))

    def positions(self, length: int, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """One after the other on all three axes."""
        return np.tile(np.arange(length, dtype=np.int64), (3, 1))

    def with_spec(self, spec: PixelSpec) -> PlainFamily:
        """The same family with other bounds."""
        return dataclasses.replace(self, spec=spec)
