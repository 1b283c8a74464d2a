"""What the ticks of a chart say, and the map from pixels to values that follows from it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chart import Frame
from .ocr import read_one

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_POWER = re.compile(r"1e([-+]?\d{1,3})")
_RAISED = re.compile(r"10[\^{(]*([⁻-]?[⁰¹²³⁴⁵⁶⁷⁸⁹º°]{1,2}|(?<=[\^{(])[-−]?\d{1,2})[})]*")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹º°⁻−", "012345678900--")
_TICK = 12
"""Pixels within which a label cannot begin: the tick stands there."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What places on an axis mean: `at` in pixels, value = start + slope * at (or its log).

    Args:
        slope: Units (or decades) per pixel.
        start: Value (or its decimal logarithm) at pixel 0.
        log: Whether the axis counts decades.
    """

    slope: float
    start: float
    log: bool = False

    def value(self, at: float) -> float:
        """The value at a pixel."""
        raw = self.start + self.slope * at
        return 10.0**raw if self.log else raw


def read_ticks(
    pixels: NDArray[np.uint8],
    drawn: NDArray[np.bool_],
    frame: Frame,
    axis: str,
    places: Sequence[float],
    *,
    threads: int = 1,
) -> list[str]:
    """What stands at each tick; empty where nothing does.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        drawn: bool (H, W), its ink.
        frame: The chart's plot area.
        axis: ``x`` or ``y``.
        places: Ticks, pixels along the axis.
        threads: Of the reader.
    """
    if len(places) < 2:
        return ["" for _ in places]
    half = max(6, int(min(np.diff(places)) / 2))
    cell = _below if axis == "x" else _left_of
    said = []
    for place in places:
        box = cell(drawn, frame, round(place), half)
        said.append("" if box is None else read_one(_cut(pixels, box), threads=threads)[0])
    return said


def read_power(
    pixels: NDArray[np.uint8],
    drawn: NDArray[np.bool_],
    frame: Frame,
    axis: str,
    *,
    threads: int = 1,
) -> float | None:
    """The factor that plotting libraries write at an axis' end, such as ``1e6``; 1 without one.

    Returns:
        None where something stands there that shifts values in another way.
    """
    height, width = drawn.shape
    if axis == "y":
        rows = max(0, round(frame.top) - height // 16), round(frame.top) - 2
        columns = max(0, round(frame.left) - 4), min(width, round(frame.left) + width // 8)
    else:
        rows = min(height, round(frame.bottom) + _TICK + 8), min(height, round(frame.bottom) + 60)
        columns = max(0, round(frame.right) - width // 12), min(width, round(frame.right) + 12)
    box = _ink_box(drawn, *rows, *columns)
    if box is None:
        return 1.0
    text = read_one(_cut(pixels, box), threads=threads)[0].replace("\u2212", "-").replace(" ", "")
    power = _POWER.fullmatch(text)
    if power:
        return float(10.0 ** int(power.group(1)))
    return None if re.match(r"[-+]\d|1e", text) else 1.0


def _below(
    drawn: NDArray[np.bool_], frame: Frame, place: int, half: int
) -> tuple[int, int, int, int] | None:
    """Box of the label under a tick of the x axis, pixels, xyxy."""
    width = drawn.shape[1]
    start = _end_of_tick(drawn[:, place], round(frame.bottom))
    low, high = max(0, place - half), min(width, place + half + 1)
    band = _first_run(_marked(drawn[start : start + 40, low:high], 1), 2)
    if band is None:
        return None
    rows = start + band[0], start + band[1]
    tall = rows[1] - rows[0]
    columns = _run_around(_marked(drawn[rows[0] : rows[1], low:high], 0), place - low, tall)
    return (low + columns[0], rows[0], low + columns[1], rows[1]) if columns else None


def _left_of(
    drawn: NDArray[np.bool_], frame: Frame, place: int, half: int
) -> tuple[int, int, int, int] | None:
    """Box of the label beside a tick of the y axis, pixels, xyxy."""
    half = min(half, 14)
    low, high = max(0, place - half), min(drawn.shape[0], place + half + 1)
    start = _end_of_tick(drawn[place, ::-1], drawn.shape[1] - 1 - round(frame.left))
    columns = _marked(drawn[low:high, ::-1][:, start:], 0)
    rows = _marked(drawn[low:high, ::-1][:, start : start + 40], 1)
    tall = _run_around(rows, place - low, 2)
    if tall is None:
        return None
    # Wider than between digits, narrower than between a label and the axis' name.
    run = _first_run(columns, round(0.4 * (tall[1] - tall[0])))
    if run is None:
        return None
    right = drawn.shape[1] - (start + run[0])
    return right - (run[1] - run[0]), low + tall[0], right, low + tall[1]


def _end_of_tick(line: NDArray[np.bool_], axis: int) -> int:
    """First place beyond an axis and its tick, along a line of pixels."""
    at = axis
    while at < len(line) and line[at] and at < axis + _TICK:
        at += 1
    return at


def _marked(part: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Which columns (axis 0) or rows (axis 1) hold ink."""
    return np.asarray(part.any(axis=axis), np.bool_)


def _first_run(marked: NDArray[np.bool_], gap: int) -> tuple[int, int] | None:
    """The first stretch of marks, over gaps of at most so many: (from, to)."""
    on = np.flatnonzero(marked)
    if not len(on):
        return None
    breaks = np.flatnonzero(np.diff(on) > gap + 1)
    return int(on[0]), int(on[breaks[0]] if len(breaks) else on[-1]) + 1


def _run_around(marked: NDArray[np.bool_], place: int, gap: int) -> tuple[int, int] | None:
    """The stretch of marks nearest to a place, over gaps of at most so many: (from, to)."""
    on = np.flatnonzero(marked)
    if not len(on):
        return None
    groups = np.split(on, np.flatnonzero(np.diff(on) > gap + 1) + 1)
    near = min(groups, key=lambda g: max(g[0] - place, place - g[-1], 0))
    return int(near[0]), int(near[-1]) + 1


def _ink_box(
    drawn: NDArray[np.bool_], y0: int, y1: int, x0: int, x1: int
) -> tuple[int, int, int, int] | None:
    ys, xs = np.nonzero(drawn[y0:y1, x0:x1])
    if not len(ys):
        return None
    return x0 + int(xs.min()), y0 + int(ys.min()), x0 + int(xs.max()) + 1, y0 + int(ys.max()) + 1


def _cut(pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A label with a rim of paper around it, as the reader was trained on."""
    x0, y0, x1, y1 = box
    rim = max(2, (y1 - y0) // 3)
    paper = np.median(np.concatenate([pixels[0], pixels[-1]]), axis=0).astype(np.uint8)
    out = np.empty((y1 - y0 + 2 * rim, x1 - x0 + 2 * rim, 3), np.uint8)
    out[:] = paper
    out[rim:-rim, rim:-rim] = pixels[y0:y1, x0:x1]
    return out


def read_number(text: str) -> float | None:
    """The number that a tick says, or None.

    The sign may be a true minus or a dash; powers of ten may have a raised exponent.
    """
    raised = _RAISED.fullmatch(text.replace(" ", ""))
    if raised:
        return float(10.0 ** int(raised.group(1).translate(_LOWERED)))
    plain = text.strip().replace("\u2212", "-").replace("\u2013", "-").replace(",", "")
    plain = plain.replace(" ", "").replace("O", "0").replace("o", "0")
    if plain.endswith("%"):
        plain = plain[:-1]
    return float(plain) if _NUMBER.fullmatch(plain) else None


def fit_scale(places: Sequence[float], values: Sequence[float]) -> tuple[Scale, list[bool]] | None:
    """The straight map from pixels to values on which most ticks agree.

    Args:
        places: Pixels along the axis.
        values: What ticks say; some may have been misread.

    Returns:
        The map, and which ticks lie on it; None where fewer than three, or fewer than two
        thirds, agree.
    """
    best: tuple[Scale, list[bool]] | None = None
    for log in (False, True):
        if log and min(values, default=0) <= 0:
            continue
        told = [math.log10(v) for v in values] if log else list(values)
        got = _agreeing(places, told, log)
        if got and (best is None or sum(got[1]) > sum(best[1])):
            best = got
    if best is None or sum(best[1]) < max(3, math.ceil(2 / 3 * len(places))):
        return None
    return best


def _agreeing(
    places: Sequence[float], told: Sequence[float], log: bool
) -> tuple[Scale, list[bool]] | None:
    best: tuple[Scale, list[bool]] | None = None
    for i in range(len(places)):
        for j in range(i + 1, len(places)):
            if places[i] == places[j] or told[i] == told[j]:
                continue
            slope = (told[j] - told[i]) / (places[j] - places[i])
            # A pixel and a half of slack: ticks are drawn on whole pixels.
            fits = [
                abs(told[i] + slope * (p - places[i]) - v) <= 1.5 * abs(slope)
                for p, v in zip(places, told, strict=True)
            ]
            if best is None or sum(fits) > sum(best[1]):
                x = np.array([p for p, f in zip(places, fits, strict=True) if f])
                y = np.array([v for v, f in zip(told, fits, strict=True) if f])
                a, b = np.polyfit(x, y, 1)
                best = Scale(float(a), float(b), log), fits
    return best
