"""Reading picture files strictly: what may be opened, what may be decoded, and to which pixels.

Size is read from the header before any pixel, truncated files are refused, EXIF orientation is
applied before anybody names a box, alpha is laid on white, 16-bit is rescaled. Colour profiles
and other metadata are ignored. Messages never hold a path of the machine or a library's words.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFile, UnidentifiedImageError

from vtool.errors import MediaError

MAX_PIXELS = 64_000_000
MAX_BYTES = 200_000_000
MAX_BASE64 = 64_000_000
"""Characters of a picture that comes as text."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")

_KNOWN = ", ".join(FORMATS)
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;[\w.+=-]+)*;base64,", re.ASCII | re.IGNORECASE)
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, struct.error)
_TURNS = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture file's pixels.

    Args:
        pixels: uint8 (H, W, 3), read-only.
        notes: What a reader of the file should be told, such as that it is animated.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_bytes(path: str | Path, root: str | Path | None = None) -> bytes:
    """The bytes of a picture file.

    Args:
        path: The file.
        root: A folder that it must lie in, symbolic links followed.

    Raises:
        MediaError: Not a regular file, too large, unreadable, or outside the root.
    """
    try:
        where = Path(path) if root is None else inside(root, str(path))
        check_regular(os.stat(where))
        # Not blocking, and looked at again: what lies there may have been changed for a pipe.
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(where, flags), "rb") as file:
            check_regular(os.fstat(file.fileno()))
            return file.read(MAX_BYTES + 1)
    except MediaError:
        raise
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or "no such path"
        raise MediaError(f"cannot read picture {Path(path).name!r}: {why}") from err


def check_regular(info: os.stat_result) -> None:
    """Refuse devices, pipes, folders and files beyond `MAX_BYTES`.

    Raises:
        MediaError: It is one of these.
    """
    if not stat.S_ISREG(info.st_mode):
        raise MediaError("expected a picture file, got a folder, a pipe or a device")
    if info.st_size > MAX_BYTES:
        raise MediaError(f"picture file is {info.st_size} bytes, at most {MAX_BYTES}")


def inside(root: str | Path, name: str) -> Path:
    """A path below a root, symbolic links followed.

    Args:
        root: The folder.
        name: A relative name, as a row or a model's author wrote it.

    Raises:
        MediaError: It is absolute, an address, or leaves the root.
    """
    if "\0" in name or "://" in name or name.startswith("data:"):
        raise MediaError(f"expected the path of a picture or text file, got {name[:80]!r}")
    base = Path(root).resolve()
    path = (base / name).resolve()
    check_below(path, base, name)
    return path


def check_below(path: Path, base: Path, name: str) -> None:
    """Refuse what does not lie below a folder once links are followed.

    Raises:
        MediaError: It leaves the folder.
    """
    if Path(name).is_absolute() or not path.is_relative_to(base):
        raise MediaError(f"expected a path below its folder, got {name[:80]!r}, which leaves it")


def read_base64(text: str) -> bytes:
    """The bytes of a picture that comes as base64 text or as a `data:` address.

    White space is allowed anywhere; the media type is not trusted: the bytes decide.

    Raises:
        MediaError: Too large (seen before anything is decoded), or no base64.
    """
    check_text_size(text)
    head = _DATA_URL.match(text[:200])
    body = squeezed(text[head.end() :] if head else text)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MediaError("expected a picture as base64 text; these are no base64 digits") from err


def squeezed(text: str) -> str:
    """The text without white space."""
    return "".join(text.split())


def check_text_size(text: str) -> None:
    """Refuse base64 text beyond `MAX_BASE64` characters.

    Raises:
        MediaError: It is longer.
    """
    if len(text) > MAX_BASE64:
        raise MediaError(f"picture is {len(text)} characters of base64, at most {MAX_BASE64}")


def decode_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Pixels of a picture file.

    Raises:
        MediaError: Not an allowed format, several pages, truncated, or too large.
    """
    check_bytes(data)
    forbid_partial()
    try:
        with PILImage.open(io.BytesIO(plain_png(data)), formats=FORMATS) as img:
            check_pixels(img.size, max_pixels)
            check_pages(img)
            notes = frame_notes(img)
            fast = fast_jpeg(data, img)
            if fast is not None:
                return Decoded(fast, notes)
            img.load()
            return Decoded(_rgb(upright(img)), notes)
    except MediaError:
        raise
    except (*_BROKEN, PILImage.DecompressionBombError) as err:
        raise plain_words(err) from err
    finally:
        allow_partial()


def fast_jpeg(data: bytes, img: PILImage.Image) -> NDArray[np.uint8] | None:
    """A colour JPEG by simplejpeg, where that is installed: the same pixels in half the time.

    Both call libjpeg-turbo with its exact transform and smooth upsampling. None where the file
    is not of the plain kind, or is torn: then Pillow decides.

    Args:
        data: The file.
        img: Its header, as Pillow read it.
    """
    if img.format != "JPEG" or img.mode != "RGB" or turn_of(img) is not None:
        return None
    decode = _jpeg_decoder()
    if decode is None:
        return None
    try:
        pixels: NDArray[np.uint8] = decode(data, colorspace="RGB", strict=True)
    except ValueError:
        return None
    return pixels if pixels.shape == (img.height, img.width, 3) else None


@cache
def _jpeg_decoder() -> Callable[..., NDArray[np.uint8]] | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    return cast("Callable[..., NDArray[np.uint8]]", simplejpeg.decode_jpeg)


def plain_words(err: Exception) -> Exception:
    """A decoder's error without its own words: those have held memory addresses."""
    if isinstance(err, PILImage.DecompressionBombError):
        return MediaError(f"picture has more pixels than the {MAX_PIXELS} that are read")
    if isinstance(err, UnidentifiedImageError):
        return MediaError(f"not a picture of a known kind ({_KNOWN})")
    return MediaError("picture file is damaged or truncated")


class _Partial:
    """Pillow's process-wide switch to read torn files, which other libraries turn on.

    It is off while any of our readers is at work, and then as it was found.
    """

    lock = threading.Lock()
    readers = 0
    found = False


def forbid_partial() -> None:
    """A reader begins: torn files are errors from here on."""
    with _Partial.lock:
        if _Partial.readers == 0:
            _Partial.found = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _Partial.readers += 1


def allow_partial() -> None:
    """A reader ends; the last one puts the switch back."""
    with _Partial.lock:
        _Partial.readers = max(0, _Partial.readers - 1)
        if _Partial.readers == 0 and _Partial.found:
            ImageFile.LOAD_TRUNCATED_IMAGES, _Partial.found = True, False


def check_bytes(data: bytes) -> None:
    """Refuse files beyond `MAX_BYTES`.

    Raises:
        MediaError: It is longer.
    """
    if len(data) > MAX_BYTES:
        raise MediaError(f"picture file is {len(data)} bytes, at most {MAX_BYTES}")


def check_pixels(size: tuple[int, int], most: int = MAX_PIXELS) -> None:
    """Refuse pictures beyond a count of pixels.

    Raises:
        MediaError: Its width times its height is more.
    """
    if size[0] * size[1] > most:
        raise MediaError(f"picture is {size[0]}x{size[1]}, at most {most} pixels")


def check_pages(img: PILImage.Image) -> None:
    """Refuse documents of several pages: which one is meant is not for us to guess.

    Raises:
        MediaError: A TIFF of more than one page.
    """
    pages = getattr(img, "n_frames", 1)
    if img.format == "TIFF" and pages > 1:
        raise MediaError(f"expected a picture, got a TIFF of {pages} pages: split it first")


def frame_notes(img: PILImage.Image) -> tuple[str, ...]:
    """That only the first frame of an animation is used."""
    frames = getattr(img, "n_frames", 1)
    if img.format in ("GIF", "WEBP", "PNG") and frames > 1:
        return (f"animated: the first of {frames} frames is used",)
    return ()


def upright(img: PILImage.Image) -> PILImage.Image:
    """The picture as its EXIF orientation says; metadata that cannot be read is ignored."""
    turn = turn_of(img)
    return img if turn is None else img.transpose(turn)


def turn_of(img: PILImage.Image) -> PILImage.Transpose | None:
    """What lays the picture upright; None where it lies so, or where nobody can tell."""
    try:
        return _TURNS.get(img.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Whatever a damaged block of metadata does to its parser, the pixels are whole.
        return None


def plain_png(data: bytes) -> bytes:
    """A PNG without its text and colour profile; anything else as it is.

    Pillow refuses a whole picture whose packed text is large; nobody here reads it.
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    kept, at, left_out = [data[:8]], 8, False
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            left_out = True
        else:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join([*kept, data[at:]]) if left_out else data


def _rgb(img: PILImage.Image) -> NDArray[np.uint8]:
    """Defined conversions: 16-bit and float rescaled, alpha on white, the rest by PIL."""
    if img.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        grey = _rescaled(np.asarray(img, dtype=np.float64), img.mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if img.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in img.info:
        img = on_white(img.convert("LA") if img.mode == "La" else img)
    return np.asarray(img.convert("RGB"))


def on_white(img: PILImage.Image) -> PILImage.Image:
    """A picture with alpha, laid on white: colours that are hidden stay hidden."""
    rgba = img.convert("RGBA")
    white = PILImage.new("RGBA", rgba.size, (255, 255, 255, 255))
    return PILImage.alpha_composite(white, rgba)


def _rescaled(raw: NDArray[np.float64], mode: str) -> NDArray[np.uint8]:
    """16-bit by its range; float and 32-bit by the largest finite value, if that is larger."""
    raw = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
    least = {"F": 1.0}.get(mode, 65535.0)
    top = max(least, float(raw.max(initial=0.0)))
    grey: NDArray[np.uint8] = np.clip(raw / top * 255.0, 0, 255).round().astype(np.uint8)
    return grey
