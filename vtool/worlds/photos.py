"""Photographs as backgrounds: read from a folder, or written from those inside scikit-image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vtool.errors import require

from .drawing import Pixels
from .zoom import Split

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
BUNDLED: Final = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
    "stereo_motorcycle",
)
"""Pictures that come inside the scikit-image package, without a download."""


def read_photos(folder: str | Path) -> list[Pixels]:
    """Decode every photograph of a folder, in the order of the file names.

    Returns:
        RGB arrays (H, W, 3).

    Raises:
        FileNotFoundError: The folder holds fewer than two photographs.
    """
    files = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in SUFFIXES)
    if len(files) < 2:
        raise FileNotFoundError(
            f"expected at least two photographs ({', '.join(SUFFIXES)}) in {folder}, "
            f"found {len(files)}; one set is for training, one is held out"
        )
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def divide(photos: Sequence[Pixels], split: Split | str) -> list[Pixels]:
    """The photographs of one split; the two splits share none.

    A quarter of the distinct photographs, at least one, is held out, chosen by content and not by
    name or order.
    """
    distinct = {hashlib.sha256(p.tobytes()).hexdigest(): p for p in photos}
    ordered = [distinct[key] for key in sorted(distinct)]
    if len(ordered) < 2:
        raise ValueError(f"expected at least two different photographs, got {len(ordered)}")
    held = max(1, len(ordered) // 4)
    return ordered[:held] if Split(split) is Split.HELD_OUT else ordered[held:]


def write_bundled_photos(folder: str | Path, *, quality: int = 90) -> list[Path]:
    """Write scikit-image's bundled photographs as JPEG files.

    Raises:
        MissingExtra: scikit-image is not installed; the message says how to get it.
    """
    data = require("skimage.data", "photos")
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in BUNDLED:
        made = getattr(data, name)()
        pixels = made[0] if isinstance(made, tuple) else made
        path = out / f"{name}.jpg"
        Image.fromarray(pixels).convert("RGB").save(path, quality=quality)
        written.append(path)
    return written
