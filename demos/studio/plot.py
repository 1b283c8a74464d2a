"""Curves as markup: lines over steps, with the last value told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..curves import FEW
from ..markup import Html, join, tag

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 170, 42, 24
LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    points: tuple[tuple[float, float], ...]


def lines_of(metrics: Sequence[Mapping[str, Any]], names: Sequence[tuple[str, str]]) -> list[Line]:
    """Curves of metrics by name; those without data are left out."""
    found = []
    for key, name in names:
        points = tuple(
            (float(m.get("step", i)), float(m[key]))
            for i, m in enumerate(metrics)
            if drawable(m.get(key)) and drawable(m.get("step", i))
        )
        if points:
            found.append(Line(name, points))
    return found


def drawable(value: object) -> bool:
    """Whether it is a number that a picture has room for."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST


def plot(title: str, lines: Sequence[Line]) -> Html:
    """A small plot with its legend."""
    every = [p for line in lines for p in line.points]
    x0, x1 = min(p[0] for p in every), max(p[0] for p in every)
    low, high = min(0.0, min(p[1] for p in every)), max(p[1] for p in every)
    if high - low < 1e-9:
        high = low + 1.0
    marks: list[Html] = []
    for share in (0.0, 0.5, 1.0):
        value = low + share * (high - low)
        y = _y(value, low, high)
        marks.append(
            tag("line", x1=LEFT, x2=WIDTH - 6, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid")
        )
        words = f"{value:.3g}"
        marks.append(tag("text", words, x=LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end"))
    for step in (x0, x1):
        x = _x(step, x0, x1)
        anchor = "start" if step == x0 else "end"
        marks.append(tag("text", f"{step:.0f}", x=f"{x:.1f}", y=HEIGHT - 6, text_anchor=anchor))
    for k, line in enumerate(lines):
        at = [(f"{_x(x, x0, x1):.1f}", f"{_y(y, low, high):.1f}") for x, y in line.points]
        marks.append(tag("path", d="M" + " L".join(map(" ".join, at)), class_=f"s{k % 4}"))
        for x, y in at if len(at) <= FEW else ():
            marks.append(tag("circle", cx=x, cy=y, r=1.5, class_=f"s{k % 4}"))
    told = ", ".join(f"{line.name} {line.points[-1][1]:.3g}" for line in lines)
    svg = tag(
        "svg",
        join(marks),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width="100%",
        role="img",
        aria_label=f"{title} over steps; at the end {told}",
    )
    keys = [
        tag("span", tag("i", class_=f"s{k % 4}"), f"{line.name} {line.points[-1][1]:.3g}")
        for k, line in enumerate(lines)
    ]
    legend = tag("div", keys, class_="vs-legend")
    return tag("figure", tag("figcaption", title), svg, legend, class_="vs-plot")


def _x(step: float, low: float, high: float) -> float:
    share = (step - low) / (high - low) if high > low else 0.5
    return LEFT + share * (WIDTH - LEFT - 6)


def _y(value: float, low: float, high: float) -> float:
    return 10 + (1 - (value - low) / (high - low)) * (HEIGHT - BOTTOM - 10)
