"""From pixels to patches: resize, cut, and (last, on the device) normalise.

The order is what makes it cheap: the resize and the cut stay in uint8, one temporal slice is
kept, and `normalise` makes floats only where they are needed. On a still picture the wire format
is an eighth of the float patches.

Parity. The result equals the library's torchvision-backed ``Qwen2VLImageProcessor`` (used by
both families) to 1e-6; golden arrays in ``tests/golden`` hold it there. The uint8 resize gives the
same bytes on every CPU capability and memory layout that was tried. The library's *PIL* backend
is another resize: up to 2 of 255 levels away, on less than 1 % of the values (a test measures it
live). Resizing floats and rounding afterwards would be up to 23 levels away. Roll out and train
with one backend only, or the policy is silently off-policy.

Source: Wang et al., "Qwen2-VL" (2024), section 2.1, naive dynamic resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from vtool.errors import FaultCode, GeometryError, require
from vtool.families.base import Patches, PixelSpec, Size

if TYPE_CHECKING:
    import torch

MAX_ASPECT = 200
"""Longer side over shorter side that the families accept."""


def smart_resize(size: Size, spec: PixelSpec) -> Size:
    """Size at which a picture of ``size`` is shown.

    Sides become multiples of ``spec.factor``, the area stays within the pixel bounds, and the
    aspect ratio is kept as well as that allows.

    Args:
        size: Width and height in pixels.
        spec: Patch geometry and pixel bounds.

    Raises:
        GeometryError: A side is not positive, or the aspect ratio is beyond `MAX_ASPECT`.
    """
    width, height = size
    check_aspect(width, height)
    factor, area = spec.factor, width * height
    w, h = round(width / factor) * factor, round(height / factor) * factor
    if w * h > spec.max_pixels:
        scale = math.sqrt(area / spec.max_pixels)
        w = max(factor, math.floor(width / scale / factor) * factor)
        h = max(factor, math.floor(height / scale / factor) * factor)
    elif w * h < spec.min_pixels:
        scale = math.sqrt(spec.min_pixels / area)
        w = math.ceil(width * scale / factor) * factor
        h = math.ceil(height * scale / factor) * factor
    return w, h


def check_aspect(width: int, height: int) -> None:
    """Refuse pictures that no family can show.

    Raises:
        GeometryError: Code ``bad_aspect``.
    """
    if min(width, height) < 1:
        raise GeometryError(
            f"a picture needs positive sides, not {width}x{height}", FaultCode.BAD_ASPECT
        )
    if max(width, height) / min(width, height) > MAX_ASPECT:
        raise GeometryError(
            f"the longer side may be {MAX_ASPECT} times the shorter at most, but the picture is "
            f"{width}x{height}; crop a less narrow region",
            FaultCode.BAD_ASPECT,
        )


def resize(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Bicubic, antialiased, in uint8.

    Args:
        pixels: RGB, (H, W, 3).
        size: Width and height wanted.

    Returns:
        RGB, (height, width, 3), C-contiguous.
    """
    if (pixels.shape[1], pixels.shape[0]) == size:
        return np.ascontiguousarray(pixels)
    functional = require("torch.nn.functional", "train")
    # The batch axis comes first: only then is this view channels-last to torch, and not copied.
    view = tensor(pixels)[None].permute(0, 3, 1, 2)
    out = functional.interpolate(
        view, size=(size[1], size[0]), mode="bicubic", antialias=True, align_corners=False
    )
    return cast("NDArray[np.uint8]", out[0].permute(1, 2, 0).contiguous().numpy())


def tensor(array: NDArray[np.uint8]) -> torch.Tensor:
    """A tensor on the same memory, which is only ever read.

    Torch has no read-only tensors and warns about read-only arrays; pictures of a store are such.
    """
    return cast("torch.Tensor", require("torch", "train").from_numpy(np.asarray(_Open(array))))


class _Open:
    """The memory of an array without its read-only flag."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = np.ascontiguousarray(array)
        face = self._array.__array_interface__
        self.__array_interface__ = face | {"data": (face["data"][0], False)}


def cut(pixels: NDArray[np.uint8], spec: PixelSpec) -> Patches:
    """Cut a picture whose sides are multiples of ``spec.factor`` into patches.

    Patches of one merge block are neighbours; inside a patch the channel comes first.

    Raises:
        GeometryError: A side is no multiple of the factor.
    """
    height, width = pixels.shape[:2]
    p, m = spec.patch, spec.merge
    if height % spec.factor or width % spec.factor or not height or not width:
        raise GeometryError(
            f"sides must be multiples of {spec.factor}, not {width}x{height}: resize first"
        )
    h, w = height // p, width // p
    blocks = pixels.reshape(h // m, m, p, w // m, m, p, 3)
    data = blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(h * w, 3 * p * p)
    return Patches(np.ascontiguousarray(data), (1, h, w), (width, height))


def patches_of(pixels: NDArray[np.uint8], spec: PixelSpec) -> Patches:
    """Resize and cut an (H, W, 3) RGB picture.

    Raises:
        GeometryError: Not an (H, W, 3) uint8 array, or a shape no family can show.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise GeometryError(
            f"a picture is uint8 RGB of shape (H, W, 3), not {pixels.dtype} {pixels.shape}"
        )
    size = smart_resize((pixels.shape[1], pixels.shape[0]), spec)
    return cut(resize(pixels, size), spec)


def clip_patches_of(frames: Sequence[NDArray[np.uint8]], spec: PixelSpec) -> Patches:
    """Resize and cut frames of one size, ``spec.temporal`` of them to a temporal unit.

    Args:
        frames: (H, W, 3) RGB; the last one is repeated until the last unit is full.
        spec: Patch geometry and pixel bounds; the bounds are those of one frame.

    Returns:
        Rows of ``3 * temporal * patch * patch``, unit after unit.

    Raises:
        GeometryError: No frames, or of several sizes, or a shape no family can show.
    """
    if not frames or len({f.shape for f in frames}) != 1:
        raise GeometryError(f"a clip needs frames of one size, got {[f.shape for f in frames]}")
    cuts = [patches_of(f, spec) for f in frames]
    cuts += [cuts[-1]] * (-len(cuts) % spec.temporal)
    _, h, w = cuts[0].grid
    units = len(cuts) // spec.temporal
    data = np.stack([c.data.reshape(h * w, 3, -1) for c in cuts])
    paired = data.reshape(units, spec.temporal, h * w, 3, -1).transpose(0, 2, 3, 1, 4)
    rows = np.ascontiguousarray(paired).reshape(units * h * w, -1)
    return Patches(rows, (units, h, w), cuts[0].shown)


def normalise(patches: torch.Tensor, spec: PixelSpec) -> torch.Tensor:
    """Floats as the vision tower reads them, made where ``patches`` lives.

    Args:
        patches: uint8, (N, 3 * patch * patch), or (N, 3 * temporal * patch * patch) of clips.
        spec: Patch geometry, mean and standard deviation.

    Returns:
        float32, (N, 3 * temporal * patch * patch): channel, frame, row, column.
    """
    side = spec.patch
    if patches.shape[1] == 3 * spec.temporal * side * side:
        return normalise_slice(patches, spec)
    slices = normalise_slice(patches, spec).view(-1, 3, 1, side, side)
    return slices.expand(-1, 3, spec.temporal, side, side).reshape(len(patches), -1)


def normalise_slice(patches: torch.Tensor, spec: PixelSpec) -> torch.Tensor:
    """Like `normalise`, leaving out what a still picture repeats: float32, shaped as given."""
    import torch

    area = patches.shape[1] // 3
    # 255 is folded into mean and deviation, as the library does: (x - 255 m) / (255 s).
    mean = torch.tensor(spec.mean, device=patches.device) * 255.0
    std = torch.tensor(spec.std, device=patches.device) * 255.0
    values = patches.view(-1, 3, area).to(torch.float32)
    return values.sub_(mean[:, None]).div_(std[:, None]).view(-1, 3 * area)
