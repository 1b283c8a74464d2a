"""Pictures and clips: pixels with a digest and a known way back to what they were cut from.

Files are read strictly, see `vtool.picture_file`. Nothing here fetches an address.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import FaultCode, GeometryError, MediaError
from vtool.geometry import Box, Size
from vtool.picture_file import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    check_pixels,
    decode_picture,
    read_base64,
    read_bytes,
)
from vtool.transform import Affine

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "Clip", "Image", "Lineage", "Op"]

Op: TypeAlias = tuple[Literal["crop", "resize", "rotate"], tuple[float, ...]]
"""A deterministic step: crop (x0, y0, x1, y1 in pixels), resize (w, h), rotate (degrees)."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a picture was made from another one, exactly and repeatably."""

    root: str
    """Digest of the picture it began with."""
    ops: tuple[Op, ...]
    transform: Affine
    """From this picture's unit square to the root's."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture.

    Args:
        pixels: uint8 (H, W, 3), RGB; copied, unless nobody can write to it (see `adopt`).
        lineage: How it was made from another picture, if it was.
    """

    pixels: NDArray[np.uint8]
    lineage: Lineage | None = None
    _digest: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        px = self.pixels
        if px.ndim != 3 or px.shape[2] != 3 or px.dtype != np.uint8 or 0 in px.shape:
            raise MediaError(f"picture needs uint8 (H, W, 3), got {px.dtype} {px.shape}")
        if not _frozen(px):
            px = px.copy(order="C")
            px.flags.writeable = False
            object.__setattr__(self, "pixels", px)

    @classmethod
    def adopt(cls, pixels: NDArray[np.uint8]) -> Image:
        """Take over an array that the caller has made and gives up; it is frozen, not copied."""
        if pixels.base is None:
            pixels.flags.writeable = False
        return cls(pixels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return (self.pixels.shape[1], self.pixels.shape[0])

    @property
    def digest(self) -> str:
        """SHA-256 of size and pixels, hexadecimal."""
        if not self._digest:
            head = f"{self.pixels.shape[1]}x{self.pixels.shape[0]}:".encode()
            body = hashlib.sha256(head)
            body.update(np.ascontiguousarray(self.pixels).data)  # the buffer itself: no copy
            self._digest.append(body.hexdigest())
        return self._digest[0]

    def rooted(self) -> Image:
        """The same pixels as the beginning of a lineage."""
        return Image(self.pixels, None, self._digest)

    @classmethod
    def open(
        cls, path: str | Path, *, root: str | Path | None = None, max_pixels: int = MAX_PIXELS
    ) -> Image:
        """Read a picture file.

        Args:
            path: The file.
            root: A folder that it must lie in, symbolic links followed.
            max_pixels: Refused beyond this, from the header.

        Raises:
            MediaError: Not a regular file, not an allowed format, truncated, or too large.
        """
        return cls.decode(read_bytes(path, root), max_pixels=max_pixels)

    @classmethod
    def decode(cls, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
        """Read a picture from the bytes of a file.

        Of an animation this is the first frame; `vtool.picture_file.decode_picture` says so.

        Raises:
            MediaError: Not an allowed format, several pages, truncated, or too large.
        """
        return cls.adopt(decode_picture(data, max_pixels).pixels)

    @classmethod
    def decode_text(cls, text: str, *, max_pixels: int = MAX_PIXELS) -> Image:
        """Read a picture from base64 text or a `data:` address.

        Raises:
            MediaError: Too large, no base64, or what `decode` refuses.
        """
        return cls.decode(read_base64(text), max_pixels=max_pixels)

    def encode(self, kind: Literal["PNG", "JPEG"] = "PNG", *, level: int = 6) -> bytes:
        """The picture as the bytes of a file (PNG is lossless).

        Args:
            kind: Of file.
            level: How hard PNG is packed, 0 to 9; 1 takes a quarter of the time of 6.
        """
        out = io.BytesIO()
        options = {"quality": 92} if kind == "JPEG" else {"compress_level": level}
        PILImage.fromarray(self.pixels).save(out, kind, **options)
        return out.getvalue()

    def crop(self, box: Box) -> Image:
        """Cut a box out, rounded outward to whole pixels."""
        w, h = self.size
        # Unit values of whole pixels come back a rounding error off; do not grow by one for it.
        x0, y0 = math.floor(box.x1 * w + 1e-6), math.floor(box.y1 * h + 1e-6)
        x1, y1 = math.ceil(box.x2 * w - 1e-6), math.ceil(box.y2 * h - 1e-6)
        return self.crop_pixels(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))

    def crop_pixels(self, x0: int, y0: int, x1: int, y1: int) -> Image:
        """Cut whole pixels out, x0 <= x < x1 and y0 <= y < y1.

        Raises:
            GeometryError: Empty or outside.
        """
        w, h = self.size
        if not (0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h):
            raise GeometryError(
                f"crop ({x0}, {y0}, {x1}, {y1}) does not lie in a {w}x{h} picture",
                FaultCode.BOX_OUTSIDE,
            )
        cut = self.pixels[y0:y1, x0:x1].copy()
        step = Affine.crop(Box(x0 / w, y0 / h, x1 / w, y1 / h))
        return self._derive(cut, ("crop", (x0, y0, x1, y1)), step)

    def resize(self, size: Size) -> Image:
        """Resample to another size (bicubic).

        Raises:
            GeometryError: A side below 1.
            MediaError: More than `MAX_PIXELS`.
        """
        if min(size) < 1:
            raise GeometryError(f"size needs whole positive sides, got {size}")
        check_pixels(size)
        px = np.asarray(PILImage.fromarray(self.pixels).resize(size, PILImage.Resampling.BICUBIC))
        return self._derive(px, ("resize", size), Affine.identity())

    def rotate(self, degrees: float) -> Image:
        """Turn counter-clockwise; the canvas grows to hold all, corners are white.

        Raises:
            MediaError: The canvas would have more than `MAX_PIXELS`.
        """
        check_pixels(_turned_size(self.size, degrees))
        turned = PILImage.fromarray(self.pixels).rotate(
            degrees, PILImage.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255)
        )
        step = Affine.rotation(degrees, self.size, turned.size)
        return self._derive(np.asarray(turned), ("rotate", (degrees,)), step)

    def replay(self, ops: tuple[Op, ...]) -> Image:
        """Apply recorded steps again.

        Raises:
            MediaError: An unknown step, numbers that do not fit it, or too large a result.
        """
        image = self
        for name, args in ops:
            try:
                image = image._step(name, args)
            except (GeometryError, ValueError, TypeError, OverflowError, IndexError) as err:
                if isinstance(err, MediaError):
                    raise
                raise MediaError(f"step {name!r} {list(args)} does not fit the picture") from err
        return image

    def _step(self, name: str, args: tuple[float, ...]) -> Image:
        if name == "crop":
            x0, y0, x1, y1 = (int(a) for a in args)
            return self.crop_pixels(x0, y0, x1, y1)
        if name == "resize":
            width, height = (int(a) for a in args)
            return self.resize((width, height))
        if name == "rotate":
            (degrees,) = args
            return self.rotate(float(degrees))
        raise MediaError(f"expected a crop, resize or rotate step, got {str(name)[:40]!r}")

    def _derive(self, pixels: NDArray[np.uint8], op: Op, step: Affine) -> Image:
        if pixels.base is None:
            pixels.flags.writeable = False
        if self.lineage is None:
            return Image(pixels, Lineage(self.digest, (op,), step))
        old = self.lineage
        return Image(pixels, Lineage(old.root, (*old.ops, op), step.then(old.transform)))


def _frozen(px: NDArray[np.uint8]) -> bool:
    """Whether nobody can write to these pixels, through a view of them or what they view."""
    at: object = px
    while isinstance(at, np.ndarray):
        if at.flags.writeable:
            return False
        at = at.base
    return at is None or isinstance(at, bytes)


def _turned_size(size: Size, degrees: float) -> Size:
    """Width and height of the canvas that holds a turned picture, rounded up.

    Raises:
        MediaError: The angle is no finite number.
    """
    if not math.isfinite(degrees):
        raise MediaError(f"a turn needs a finite angle, got {degrees}")
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    return (
        math.ceil(size[0] * cos + size[1] * sin - 1e-9),
        math.ceil(size[0] * sin + size[1] * cos - 1e-9),
    )


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of video as frames with their true times.

    Args:
        frames: Pictures of one size, at least one.
        times_s: Presentation time of each frame in seconds, rising.
    """

    frames: tuple[Image, ...]
    times_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.frames or len(self.frames) != len(self.times_s):
            raise MediaError(
                f"clip needs a time for each of its frames, got {len(self.frames)} frames "
                f"and {len(self.times_s)} times"
            )
        if any(b <= a for a, b in zip(self.times_s, self.times_s[1:], strict=False)):
            raise MediaError("clip needs rising frame times")
        if len({f.size for f in self.frames}) != 1:
            raise MediaError("clip needs frames of one size")

    @property
    def size(self) -> Size:
        """Width and height of a frame."""
        return self.frames[0].size

    @property
    def digest(self) -> str:
        """SHA-256 over frame digests and times."""
        return _clip_digest(tuple(f.digest for f in self.frames), self.times_s)


@lru_cache(maxsize=4096)
def _clip_digest(frames: tuple[str, ...], times_s: tuple[float, ...]) -> str:
    text = ";".join(f"{d}@{t!r}" for d, t in zip(frames, times_s, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()
