"""Pictures of the examples: photographs inside scikit-image, and drawn charts."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from vtool.errors import require
from vtool.geometry import Box, Mask
from vtool.media import Image

_SIZE = (480, 320)
_FRAME = (60, 24, 456, 272)
"""Of the chart's plot area: left, top, right, bottom."""


@cache
def photo(name: str) -> Image:
    """A photograph by the name of its file, or a drawing."""
    drawn = {"chart": chart, "panels": panels, "notice": notice}.get(name)
    if drawn is not None:
        return drawn()
    folder = Path(str(require("skimage.data", "photos").__file__)).parent
    path = next(p for p in sorted(folder.glob(f"{name}.*")) if p.suffix in (".png", ".jpg"))
    return Image.open(path)


def ellipse(box: Box, image: Image) -> Mask:
    """The ellipse in a box, as a mask of a picture."""
    width, height = image.size
    y, x = np.mgrid[0:height, 0:width]
    middle, w, h = box.center, box.x2 - box.x1, box.y2 - box.y1
    across = ((x + 0.5) / width - middle.x) / (w / 2)
    down = ((y + 0.5) / height - middle.y) / (h / 2)
    return Mask(across**2 + down**2 <= 1)


def chart() -> Image:
    """A curve over 0 to 10, of values 0 to 100."""
    paper = PILImage.new("RGB", _SIZE, (255, 255, 255))
    draw, face = ImageDraw.Draw(paper), ImageFont.load_default(14)
    left, top, right, bottom = _FRAME
    draw.rectangle(_FRAME, outline=(0, 0, 0))
    for i in range(6):
        x, y = left + (right - left) * i / 5, bottom - (bottom - top) * i / 5
        draw.line((x, bottom, x, bottom + 6), (0, 0, 0))
        draw.text((x, bottom + 10), str(2 * i), (0, 0, 0), face, anchor="mt")
        draw.line((left - 6, y, left, y), (0, 0, 0))
        draw.text((left - 10, y), str(20 * i), (0, 0, 0), face, anchor="rm")
    curve = [(left + t, bottom - (bottom - top) * _value(t / (right - left))) for t in range(396)]
    draw.line(curve, (30, 90, 200), 3)
    return Image(np.asarray(paper))


def _value(share: float) -> float:
    return 0.5 + 0.4 * math.sin(7 * share) * (1 - share / 2)


def panels() -> Image:
    """Two charts side by side."""
    one = chart().pixels
    return Image(np.concatenate([one, one], axis=1))


def notice() -> Image:
    """Three lines of print."""
    paper = PILImage.new("RGB", (480, 240), (244, 240, 228))
    draw = ImageDraw.Draw(paper)
    lines = (("Reading room", 34), ("Open 9:30 to 18:00", 24), ("Room 214, second floor", 24))
    for i, (line, height) in enumerate(lines):
        draw.text((40, 30 + 70 * i), line, (40, 35, 30), ImageFont.load_default(height))
    return Image(np.asarray(paper))
