"""A short film for the pages of the tools that look into videos: three photographs, panned over."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from example_pictures import photo

from vtool.errors import require
from vtool.video.source import Video

SIZE, FPS, SECONDS = (320, 240), 12, 9
SHOTS = ("coffee", "chelsea", "astronaut")
SUBTITLES = """1
00:00:00,500 --> 00:00:02,500
Coffee first.

2
00:00:03,200 --> 00:00:05,500
Then the cat.

3
00:00:06,200 --> 00:00:08,500
And off into space.
"""


@cache
def film() -> Video:
    """The film, with subtitles beside it."""
    path = Path(tempfile.mkdtemp(prefix="vtool-film-")) / "film.mp4"
    path.with_suffix(".srt").write_text(SUBTITLES, encoding="utf-8")
    av = require("av", "video")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(FPS * SECONDS):
            for packet in stream.encode(av.VideoFrame.from_ndarray(_frame(number), "rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return Video.open(path)


def _frame(number: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    shot, at = divmod(number, FPS * SECONDS // len(SHOTS))
    pixels = photo(SHOTS[shot]).pixels
    width, height = SIZE
    slack = min(pixels.shape[1] - width, 3 * at)
    top = (pixels.shape[0] - height) // 3
    return np.ascontiguousarray(pixels[top : top + height, slack : slack + width])
