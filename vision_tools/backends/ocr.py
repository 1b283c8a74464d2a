"""Reading text with rapidocr, whose models come inside its package: nothing is downloaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import require
from vtool.geometry import Box, Size, clamp

TALLEST = 4
"""Times that a strip may be taller than wide before it is widened."""
MIN_SIDE = 8
"""Below so many pixels there is nothing to read."""
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text.

    Args:
        text: What it says.
        score: How sure the reader is, 0 to 1.
        quad: Its four corners in pixels, float (4, 2), clockwise from the top left.
    """

    text: str
    score: float
    quad: NDArray[np.float64]

    @property
    def hull(self) -> tuple[float, float, float, float]:
        """The upright rectangle around it, pixels, xyxy."""
        low, high = self.quad.min(axis=0), self.quad.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def read_lines(
    pixels: NDArray[np.uint8], *, threads: int = 1, min_score: float = 0.5
) -> list[Line]:
    """All lines of text in a picture, in reading order.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        threads: Of the models.
        min_score: Lines of which the reader is less sure are left out.
    """
    if min(pixels.shape[:2]) < MIN_SIDE:
        return []
    engine = _engine(threads)
    pixels = widened(pixels)
    with _LOCK:
        # The engine keeps what it was called with last: everything is said each time.
        got = engine(
            np.ascontiguousarray(pixels[:, :, ::-1]),
            use_det=True,
            use_cls=True,
            use_rec=True,
            text_score=min_score,
        )
    if got.txts is None or got.boxes is None:
        return []
    return reading_order(
        [
            Line(text, float(score), np.asarray(quad, np.float64))
            for text, score, quad in zip(got.txts, got.scores, got.boxes, strict=True)
            if text.strip()
        ]
    )


def widened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A tall strip with its last column repeated to the right, so that no place moves.

    The engine enlarges the shorter side to some hundred pixels: a strip of 9 x 300 would become
    one of 736 x 24,533, with gigabytes and minutes to match.
    """
    height, width = pixels.shape[:2]
    missing = -(-height // TALLEST) - width
    return pixels if missing <= 0 else np.pad(pixels, ((0, 0), (0, missing), (0, 0)), mode="edge")


def read_one(pixels: NDArray[np.uint8], *, threads: int = 1) -> tuple[str, float]:
    """The one line that fills a picture, and how sure the reader is.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        threads: Of the models.
    """
    engine = _engine(threads)
    with _LOCK:
        got = engine(
            np.ascontiguousarray(pixels[:, :, ::-1]),
            use_det=False,
            use_cls=False,
            use_rec=True,
            text_score=0.5,
        )
    if not got.txts:
        return "", 0.0
    return got.txts[0].strip(), float(got.scores[0])


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """From top to bottom; what stands beside each other, from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda n: (n.hull[1] + n.hull[3], n.hull[0])):
        if rows and _beside(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda n: n.hull[0])]


def _beside(a: Line, b: Line) -> bool:
    """Whether two lines share most of their height."""
    top, bottom = max(a.hull[1], b.hull[1]), min(a.hull[3], b.hull[3])
    least = min(a.hull[3] - a.hull[1], b.hull[3] - b.hull[1])
    return bottom - top > 0.5 * least


def unit_box(hull: tuple[float, float, float, float], size: Size, at: Size = (0, 0)) -> Box:
    """Pixels of a part to a box on the whole picture.

    Args:
        hull: Pixels, xyxy.
        size: Of the whole picture.
        at: Top left corner of the part on it.
    """
    spans = []
    for low, high, shift, side in (
        (hull[0], hull[2], at[0], size[0]),
        (hull[1], hull[3], at[1], size[1]),
    ):
        start = min(clamp((low + shift) / side), 1 - 1e-6)
        spans.append((start, max(clamp((high + shift) / side), start + 1e-6)))
    return Box(spans[0][0], spans[1][0], spans[0][1], spans[1][1])


@lru_cache(maxsize=4)
def _engine(threads: int) -> Any:
    rapidocr = require("rapidocr", "vision")
    with _LOCK:
        return rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
