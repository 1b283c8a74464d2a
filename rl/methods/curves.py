"""Accuracy in training over sampled tokens as a picture; equal rows give equal bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtool.errors import require

from .trial import START

Row = Mapping[str, Any]

SHORT = 5
"""Steps up to which every step is a point: smoothed, so few would be a level line, or nothing."""
OURS = re.compile(r"curves(-\d+)?\.svg")
"""Names of pictures that `redraw` writes."""


def redraw(
    budgets: Mapping[int, Sequence[Row]], standing: Mapping[int, Sequence[Row]], out: Path
) -> dict[int, Path]:
    """Draw each budget's curves into the folder of a comparison.

    Budgets of the folder that are not drawn anew keep their pictures, under a name that tells the
    budget as soon as there are two. A picture whose rows are gone is removed: it would pass for
    one of these.

    Args:
        budgets: Rows to draw, by budget.
        standing: All rows of the folder, by budget.
        out: The folder.

    Returns:
        The pictures of `budgets`; none of a budget under which nothing learnt.
    """
    shown = {b: mine for b, mine in {**standing, **budgets}.items() if learnt(mine)}
    paths = {b: out / ("curves.svg" if len(shown) == 1 else f"curves-{b}.svg") for b in shown}
    for budget, mine in shown.items():
        if budget in budgets or not paths[budget].is_file():
            curves(mine, paths[budget])
    for path in out.glob("curves*.svg"):
        if OURS.fullmatch(path.name) and path not in paths.values():
            path.unlink()
    return {b: path for b, path in paths.items() if b in budgets}


def curves(rows: Sequence[Row], path: Path, *, window: int = 5) -> Path:
    """Draw a panel a ground, a line a method.

    Args:
        rows: Of the comparison; lines are means over seeds.
        path: An .svg or .png to write.
        window: Steps over which a line is smoothed.

    Raises:
        MissingExtra: Without matplotlib.
    """
    matplotlib = require("matplotlib", "train")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    played = learnt(rows)
    grounds = list(dict.fromkeys(r["ground"] for r in played))
    figure, panels = pyplot.subplots(
        1, len(grounds), figsize=(4.2 * len(grounds), 3.6), squeeze=False, layout="constrained"
    )
    for panel, ground in zip(panels[0], grounds, strict=True):
        draw_ground(panel, ground, [r for r in played if r["ground"] == ground], window)
    panels[0][0].set_ylabel("accuracy of attempts")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
    # Names of parts are drawn at random unless they are given a salt, and the date is told.
    with pyplot.rc_context({"svg.hashsalt": "vtool"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return path


def draw_ground(panel: Any, ground: str, rows: Sequence[Row], window: int) -> None:
    """One panel."""
    for number, method in enumerate(dict.fromkeys(r["method"] for r in rows)):
        mine = [judged(r) for r in rows if r["method"] == method]
        style, line = ("-", "--", ":")[number // 10 % 3], {"label": method, "linewidth": 1.4}
        if min(map(len, mine)) <= SHORT:
            panel.plot(*points(mine), style, marker="o", markersize=4, **line)
            panel.set_xlim(left=0)
        else:
            panel.plot(*smoothed(mine, window), style, **line)
    panel.set_title(ground)
    panel.set_xlabel("sampled tokens")
    panel.grid(alpha=0.3)


def learnt(rows: Sequence[Row]) -> list[Row]:
    """Rows with something to draw: a step of learning in which answers were judged."""
    return [r for r in rows if r["error"] is None and r["method"] != START and judged(r)]


def judged(row: Row) -> list[Mapping[str, float]]:
    """The steps of a row in which answers were judged."""
    return [c for c in row["curve"] if "accuracy" in c]


def points(
    lines: Sequence[Sequence[Mapping[str, float]]],
) -> tuple[list[float], list[float]]:
    """Means over seeds of each step that all of them made."""
    steps = list(zip(*lines, strict=False))
    xs, ys = (
        [sum(c[key] for c in step) / len(step) for step in steps] for key in ("tokens", "accuracy")
    )
    return xs, ys


def smoothed(
    lines: Sequence[Sequence[Mapping[str, float]]], window: int
) -> tuple[list[float], list[float]]:
    """Means over seeds at even places of the tokens, each over `window` steps."""
    import numpy as np

    places = np.linspace(0, min(line[-1]["tokens"] for line in lines), 40)
    found = []
    for line in lines:
        at = [c["tokens"] for c in line]
        values = np.array([c["accuracy"] for c in line])
        kernel = np.ones(min(window, len(values)))
        sums, counts = (np.convolve(v, kernel, "same") for v in (values, np.ones(len(values))))
        found.append(np.interp(places, at, sums / counts))
    return list(map(float, places)), list(map(float, np.mean(found, axis=0)))
