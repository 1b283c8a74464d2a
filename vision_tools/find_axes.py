"""The axis finder: where a chart's plot area and ticks are, and what its axes count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Point, Size, clamp
from vtool.media import Image
from vtool.message import Json
from vtool.needs import Package
from vtool.tool import Finding, Observation, Settings, tool

from .backends.chart import Frame, are_regular, find_frames, find_ticks, ink
from .backends.ocr import unit_box
from .backends.ticks import Scale, fit_scale, read_number, read_power, read_ticks


@dataclass(frozen=True, slots=True)
class FindAxesSettings(Settings):
    """How axes are found.

    Args:
        max_charts: Plot areas of one picture, the largest first.
        threads: Of the reader of tick labels.
    """

    max_charts: int = 6
    threads: int = 1


@tool(
    version="1",
    concurrency=1,
    needs=(
        Package("cv2", "vision"),
        Package("rapidocr", "vision"),
        Package("onnxruntime", "vision"),
    ),
)
def find_axes(image: Image, settings: FindAxesSettings = FindAxesSettings()) -> Observation:
    """Find the plot area, the axes and the ticks of charts in a picture.

    Where the labels of the ticks agree, the values at both ends of an axis are told: between
    them the axis is linear, or logarithmic where it says so.

    Args:
        image: Picture of a chart, or of several.
        settings: How it is done; chosen by people.
    """
    drawn = ink(image.pixels)
    found: list[Finding] = []
    for frame in find_frames(drawn):
        places = {axis: find_ticks(drawn, frame, axis) for axis in ("x", "y")}
        # A frame without even ticks is a picture's rim or a table's, and counts nothing.
        charts = sum(f.label == "plot area" for f in found)
        if any(map(are_regular, places.values())) and charts < settings.max_charts:
            found += _chart(image, drawn, frame, places, settings.threads)
    return Observation(text="" if found else "no axes found", found=tuple(found))


def _chart(
    image: Image,
    drawn: NDArray[np.bool_],
    frame: Frame,
    places: Mapping[str, Sequence[float]],
    threads: int,
) -> list[Finding]:
    """The plot area with what its axes count, then the ticks."""
    ticks: list[Finding] = []
    facts: dict[str, Json] = {}
    for axis, at in places.items():
        said = read_ticks(image.pixels, drawn, frame, axis, at, threads=threads)
        power = read_power(image.pixels, drawn, frame, axis, threads=threads)
        scale, values = _values(at, said, power)
        facts.update(_ends(frame, axis, scale))
        ticks += [
            Finding(_tick(frame, axis, p, image.size), f"{axis} tick", facts=_says(value, text))
            for p, value, text in zip(at, values, said, strict=True)
        ]
    area = (frame.left, frame.top, frame.right + 1, frame.bottom + 1)
    return [Finding(unit_box(area, image.size), "plot area", facts=facts), *ticks]


def _values(
    places: Sequence[float], said: Sequence[str], power: float | None
) -> tuple[Scale | None, list[float | None]]:
    """The axis' map, and the value of each tick; a misread one is told by its neighbours."""
    numbers = [None if power is None else read_number(text) for text in said]
    told = [(p, n * (power or 1)) for p, n in zip(places, numbers, strict=True) if n is not None]
    fit = fit_scale([p for p, _ in told], [n for _, n in told])
    if fit is None:
        return None, [None] * len(places)
    scale, fits = fit
    sure = {p: n for (p, n), right in zip(told, fits, strict=True) if right}
    return scale, [sure.get(p, _short(scale.value(p))) for p in places]


def _ends(frame: Frame, axis: str, scale: Scale | None) -> dict[str, Json]:
    if scale is None:
        return {}
    names = ("left", "right") if axis == "x" else ("bottom", "top")
    kind: dict[str, Json] = {f"{axis}_scale": "log"} if scale.log else {}
    return {**{f"{axis}_{n}": _short(scale.value(getattr(frame, n))) for n in names}, **kind}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _tick(frame: Frame, axis: str, place: float, size: Size) -> Point:
    """Centre of the pixel where a tick meets its axis."""
    x, y = (place, frame.bottom) if axis == "x" else (frame.left, place)
    return Point(clamp((x + 0.5) / size[0]), clamp((y + 0.5) / size[1]))


def _says(value: float | None, text: str) -> dict[str, Json]:
    if value is not None:
        return {"value": value}
    return {"says": text[:40]} if text else {}
