"""Pictures and clips: pixels with a digest and a known way back to what they were cut from.

Decoding is strict: size is read from the header before any pixel, truncated files are refused,
EXIF orientation is applied before anybody names a box, alpha is laid on white, 16-bit is
rescaled. Nothing here fetches an address.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from vtool.errors import FaultCode, GeometryError, MediaError
from vtool.geometry import Box, Size
from vtool.transform import Affine

MAX_PIXELS = 64_000_000
MAX_BYTES = 200_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")

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
        pixels: uint8 (H, W, 3), RGB; made read-only.
        lineage: How it was made from another picture, if it was.
    """

    pixels: NDArray[np.uint8]
    lineage: Lineage | None = None
    _digest: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        px = self.pixels
        if px.ndim != 3 or px.shape[2] != 3 or px.dtype != np.uint8 or 0 in px.shape:
            raise MediaError(f"picture needs uint8 (H, W, 3), got {px.dtype} {px.shape}")
        if px.flags.writeable:
            px = np.ascontiguousarray(px).copy() if px.base is not None else px
            px.flags.writeable = False
            object.__setattr__(self, "pixels", px)

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
            body = hashlib.sha256(head + np.ascontiguousarray(self.pixels).tobytes())
            self._digest.append(body.hexdigest())
        return self._digest[0]

    def rooted(self) -> Image:
        """The same pixels as the beginning of a lineage."""
        return Image(self.pixels, None, self._digest)

    @classmethod
    def open(cls, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
        """Read a picture file.

        Raises:
            MediaError: Not a regular file, not an allowed format, truncated, or too large.
        """
        try:
            info = os.stat(path)
            if not stat.S_ISREG(info.st_mode):
                raise MediaError(f"expected a picture file, got something else: {path}")
            if info.st_size > MAX_BYTES:
                raise MediaError(f"picture file is {info.st_size} bytes, at most {MAX_BYTES}")
            data = Path(path).read_bytes()
        except OSError as err:
            raise MediaError(f"cannot read picture {path}: {err.strerror}") from err
        return cls.decode(data, max_pixels=max_pixels)

    @classmethod
    def decode(cls, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
        """Read a picture from the bytes of a file.

        Raises:
            MediaError: Not an allowed format, truncated, or too large.
        """
        try:
            with PILImage.open(io.BytesIO(data), formats=FORMATS) as img:
                if img.width * img.height > max_pixels:
                    raise MediaError(
                        f"picture is {img.width}x{img.height}, at most {max_pixels} pixels"
                    )
                img.load()
                return cls(_rgb(ImageOps.exif_transpose(img)))
        except MediaError:
            raise
        except (UnidentifiedImageError, PILImage.DecompressionBombError) as err:
            raise MediaError(f"not a picture of a known kind ({', '.join(FORMATS)})") from err
        except (OSError, SyntaxError, ValueError, EOFError) as err:
            raise MediaError("picture file is damaged or truncated") from err

    def encode(self, kind: Literal["PNG", "JPEG"] = "PNG") -> bytes:
        """The picture as the bytes of a file (PNG is lossless)."""
        out = io.BytesIO()
        options = {"quality": 92} if kind == "JPEG" else {}
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
        """Resample to another size (bicubic)."""
        if min(size) < 1:
            raise GeometryError(f"size needs whole positive sides, got {size}")
        px = np.asarray(PILImage.fromarray(self.pixels).resize(size, PILImage.Resampling.BICUBIC))
        return self._derive(px, ("resize", size), Affine.identity())

    def rotate(self, degrees: float) -> Image:
        """Turn counter-clockwise; the canvas grows to hold all, corners are white."""
        turned = PILImage.fromarray(self.pixels).rotate(
            degrees, PILImage.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255)
        )
        step = Affine.rotation(degrees, self.size, turned.size)
        return self._derive(np.asarray(turned), ("rotate", (degrees,)), step)

    def replay(self, ops: tuple[Op, ...]) -> Image:
        """Apply recorded steps again."""
        image = self
        for name, args in ops:
            if name == "crop":
                x0, y0, x1, y1 = (int(a) for a in args)
                image = image.crop_pixels(x0, y0, x1, y1)
            elif name == "resize":
                image = image.resize((int(args[0]), int(args[1])))
            else:
                image = image.rotate(args[0])
        return image

    def _derive(self, pixels: NDArray[np.uint8], op: Op, step: Affine) -> Image:
        if self.lineage is None:
            return Image(pixels, Lineage(self.digest, (op,), step))
        old = self.lineage
        return Image(pixels, Lineage(old.root, (*old.ops, op), step.then(old.transform)))


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


def _rgb(img: PILImage.Image) -> NDArray[np.uint8]:
    """Defined conversions: 16-bit and float rescaled, alpha on white, the rest by PIL."""
    if img.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        raw = np.asarray(img, dtype=np.float64)
        top = 65535.0 if img.mode != "F" else max(1.0, float(np.nanmax(raw, initial=0.0)))
        grey = np.clip(np.nan_to_num(raw) / top * 255.0, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if img.mode in ("RGBA", "LA", "PA") or "transparency" in img.info:
        rgba = img.convert("RGBA")
        white = PILImage.new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(PILImage.alpha_composite(white, rgba).convert("RGB"))
    return np.asarray(img.convert("RGB"))
