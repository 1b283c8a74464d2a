"""Files and looks of the video benchmark: ten minutes of texture in motion, numbered frames."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import video_files as vf

MINUTE, MINUTES, FPS = 1800, 10, 30
BASE = Fraction(1, 15360)


def textured(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A frame that says its number through texture that moves."""
    rng = np.random.default_rng(7)
    fine = rng.integers(-28, 28, (height, width, 3), dtype=np.int16)
    coarse = np.repeat(np.repeat(fine[::8, ::8], 8, axis=0), 8, axis=1)[:height, :width]
    moved = np.roll(coarse, (3 * number % height, 5 * number % width), axis=(0, 1))
    moved += np.roll(fine, (number % height, 0), axis=(0, 1)) // 4
    return np.clip(vf.picture(number, width, height) + moved, 0, 255).astype(np.uint8)


def steps(variable: bool) -> list[int]:
    """Presentation times of one minute, in `BASE`."""
    even = vf.constant(MINUTE, FPS, BASE)
    if not variable:
        return even
    rng = np.random.default_rng(3)
    kept = [
        512 * int(s) + int(j)
        for s, j in zip(rng.choice([1, 1, 1, 2], MINUTE), rng.integers(0, 99, MINUTE), strict=True)
    ]
    kept[900] += round(4 / BASE)
    return [0, *np.cumsum(kept)[:-1].tolist()]


def make(folder: Path) -> None:
    """Write the four files that are not there yet."""
    for gop in (30, 250):
        for rate in ("cfr", "vfr"):
            path = folder / f"{rate}{gop}.mp4"
            if path.exists():
                continue
            pts = steps(rate == "vfr")
            options = {"preset": "veryfast", "crf": "26"}
            minute = vf.write(
                folder / "minute.mp4",
                pts,
                base=BASE,
                size=(1280, 720),
                gop=gop,
                b_frames=2,
                draw=textured,
                options=options,
            )
            vf.repeat(minute, folder / "part.mp4", MINUTES, length(pts))
            (folder / "part.mp4").rename(path)


def make_hour(folder: Path) -> None:
    """An hour out of ten minutes."""
    if not (folder / "hour.mp4").exists():
        span = MINUTES * length(steps(variable=False))
        vf.repeat(folder / "cfr250.mp4", folder / "part.mp4", 6, span)
        (folder / "part.mp4").rename(folder / "hour.mp4")


def length(pts: Sequence[int]) -> int:
    """When the next minute begins."""
    return pts[-1] + 512


def truth(rate: str) -> NDArray[np.float64]:
    """When each frame of a file appears, in seconds."""
    pts = np.asarray(steps(rate == "vfr"))
    minutes = np.arange(MINUTES)[:, None] * length(pts.tolist())
    return (pts[None] + minutes).reshape(-1) * float(BASE)


def asked(op: str, times: NDArray[np.float64], window: int = 3) -> list[float]:
    """The times that are wanted; none of them at the very edge of a frame."""
    if op == "glance":
        return (np.linspace(0.0, times[-1], 66)[1:-1] + 0.0071).tolist()
    start = times[-1] * (window + 1) / 8
    return (start + np.arange(16) / 2 + 0.0071).tolist()
