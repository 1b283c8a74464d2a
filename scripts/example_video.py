"""The film of the examples: four seconds made of two photographs, with a cut and subtitles."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import require
from vtool.media import Image
from vtool.video.source import Video

SIZE = (320, 240)
FPS = 12
SECONDS = 4
WORDS = """1
00:00:00,500 --> 00:00:01,500
This one has been in the garage since spring.

2
00:00:02,200 --> 00:00:03,500
Meanwhile, indoors:
"""


@cache
def film(first: Image, second: Image) -> Video:
    """A slow look along the first photograph, then along the second."""
    # Kept while the process lives; the pages need no file of it.
    folder = Path(tempfile.mkdtemp(prefix="vtool-film-"))
    path = folder / "film.mp4"
    av = require("av", "video")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"threads": "1", "g": "12"}
        count = FPS * SECONDS
        for i in range(count):
            photo, share = (first, 2 * i / count) if 2 * i < count else (second, 2 * i / count - 1)
            frame = av.VideoFrame.from_ndarray(view(photo, share), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    path.with_suffix(".srt").write_text(WORDS, encoding="utf-8")
    return Video.open(path)


def view(photo: Image, share: float) -> NDArray[np.uint8]:
    """What is seen of a photograph at a share of the way along it."""
    width, height = photo.size
    wide = round(height * SIZE[0] / SIZE[1] * 0.8)
    high = round(height * 0.8)
    left, top = round((width - wide) * share), round((height - high) * 0.7)
    cut = PILImage.fromarray(photo.pixels[top : top + high, left : left + wide])
    return np.asarray(cut.resize(SIZE, PILImage.Resampling.BICUBIC))
