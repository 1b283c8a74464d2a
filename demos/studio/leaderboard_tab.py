"""Evaluation reports side by side: accuracy with its interval, never without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from vtool.errors import DataError

from ..markup import Html, join, tag
from .panels import empty, notice
from .shelf import Shelf, numbers
from .studio import Studio
from .viewer import make_panel

NONE = "No report lies in the folder of runs yet: `vtool eval` writes them."
BAR = 150


class LeaderboardTab:
    """The tab.

    Args:
        studio: The household.
    """

    def __init__(self, studio: Studio) -> None:
        self.shelf = Shelf(studio.options.runs)

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row():
            self.again = gr.Button("Look again", size="sm", min_width=110, scale=0)
        self.table = make_panel(NONE, "vs-leaders", elem_id="vs-leaders")
        self.again.click(
            self.show, None, [self.table], api_name="leaderboard", show_progress="hidden"
        )

    def opened(self) -> tuple[Any, None, list[Any]]:
        """What happens when somebody turns to this tab: function, inputs, outputs."""
        return self.show, None, [self.table]

    def show(self) -> Html:
        """All reports, by what they measure."""
        return leaders(self.shelf.reports())


def leaders(reports: Mapping[str, Mapping[str, Any]]) -> Html:
    """One table for each thing measured, the best first.

    Reports of different things, or under different settings, are no ranking: they stand apart.
    """
    kinds: dict[str, list[Html]] = {}
    broken = []
    order = sorted(reports.items(), key=lambda r: -_accuracy(r[1]))
    for name, report in order:
        try:
            kinds.setdefault(_kind(report), []).append(_row(name, report))
        except DataError as err:
            broken.append(notice(f"{name}: {err}", "bad"))
    if not kinds and not broken:
        return empty(NONE)
    heads = (
        "report",
        "accuracy and 95 % interval",
        "tasks",
        "attempts a task",
        "tool rate",
        "calls",
    )
    tables = []
    for kind, rows in sorted(kinds.items()):
        head = tag("tr", [tag("th", h) for h in heads])
        table = tag("table", head, rows, class_="vs-table")
        tables.append(tag("h3", kind))
        tables.append(tag("div", table, class_="vs-scroll"))
    return tag("div", join(tables), join(broken), class_="vs-onside")


def _kind(report: Mapping[str, Any]) -> str:
    control = report.get("control")
    return f"{report.get('name')}" + (f", control {control}" if control else "")


def _accuracy(report: Mapping[str, Any]) -> float:
    value = report["total"].get("accuracy")
    counted = report["total"].get("n") and isinstance(value, int | float) and 0 <= value <= 1
    return float(value) if counted else -1.0


def _row(name: str, report: Mapping[str, Any]) -> Html:
    total = report["total"]
    mean, low, high = numbers(total, "accuracy", "low", "high")
    if not 0 <= low <= mean <= high <= 1:
        raise DataError(f"expected 0 <= low <= accuracy <= high <= 1, got {low}, {mean}, {high}")
    tasks, rate, calls = numbers(total, "n", "tool_rate", "calls")
    share = [bar(mean, low, high), f"{mean:.3f} ({low:.3f} to {high:.3f})"]
    cells = [f"{tasks:.0f}", str(report.get("k", 1)), f"{rate:.3f}", f"{calls:.2f}"]
    return tag(
        "tr",
        tag("td", name),
        tag("td", share if tasks else "nothing counted"),
        [tag("td", c) for c in cells],
    )


def bar(mean: float, low: float, high: float) -> Html:
    """A share of one with its interval."""
    x = [max(0.0, min(1.0, v)) * BAR for v in (mean, low, high)]
    return tag(
        "svg",
        tag("rect", class_="track", width=BAR, height=12, rx=3),
        tag("rect", class_="fill", width=f"{x[0]:.1f}", height=12, rx=3),
        tag("line", class_="ci", x1=f"{x[1]:.1f}", x2=f"{x[2]:.1f}", y1=6, y2=6),
        viewBox=f"0 0 {BAR} 12",
        class_="vs-bar",
        aria_hidden="true",
    )
