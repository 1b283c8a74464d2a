"""Curves of a run as a picture: `metrics.jsonl` to PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtool.errors import TraceError, require

PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("accuracy while sampling", (("accuracy/zooms=1", "needs a zoom"), ("accuracy", "all"))),
    ("reward", (("reward/total", "total"), ("reward/part/evidence_iou", "evidence"))),
    ("tool use", (("tool_rate", "tool rate"), ("valid_call_rate", "valid calls"))),
    ("entropy", (("entropy", "entropy"),)),
)
"""Title, and (metric, label) of the lines in it."""

FEW = 5
"""Steps up to which each is marked: a line through one point shows nothing."""
_COLORS = ("#3557c4", "#d9822b", "#1c7a4a")


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The lines of a metrics file; what is torn or no object is left out.

    Raises:
        TraceError: There is no such file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    except OSError as err:
        raise TraceError(f"expected the metrics of a run, cannot read {path}: {err}") from err
    return [found for line in lines if (found := _line(line)) is not None]


def _line(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def draw_curves(
    metrics: Sequence[Mapping[str, Any]],
    out: Path | str,
    *,
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Draw the panels that have data.

    Args:
        metrics: One mapping a step.
        out: PNG file.
        marks: Label to (before, after): greedy figures drawn as points into the first panel.
    """
    matplotlib = require("matplotlib", "train")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(14, 3.1), layout="constrained")
    for axis, (title, lines) in zip(axes, PANELS, strict=True):
        _panel(axis, title, lines, metrics)
    if marks and metrics:
        _points(axes[0], marks, float(metrics[-1].get("step", len(metrics))))
    figure.savefig(out, dpi=130)
    pyplot.close(figure)
    return Path(out)


def _panel(
    axis: Any, title: str, lines: Sequence[tuple[str, str]], metrics: Sequence[Mapping[str, Any]]
) -> None:
    for (name, label), color in zip(lines, _COLORS, strict=False):
        found = [(m.get("step", i), m[name]) for i, m in enumerate(metrics) if _number(m.get(name))]
        if found:
            mark = "o" if len(found) <= FEW else None
            xs, ys = zip(*found, strict=True)
            axis.plot(xs, ys, color=color, label=label, linewidth=1.8, marker=mark, markersize=5)
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_xlabel("step", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e3dc", linewidth=0.8)
    axis.tick_params(labelsize=9, length=0)
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)  # there is no step 1.5
    if axis.lines and len(lines) > 1:
        axis.legend(frameon=False, fontsize=9)


def _points(axis: Any, marks: Mapping[str, tuple[float, float]], last: float) -> None:
    for (label, values), color in zip(marks.items(), _COLORS, strict=False):
        axis.scatter([0, last], values, color=color, zorder=3, s=28, marker="D", label=label)
    axis.set_ylim(0, 1.03)
    axis.legend(frameon=False, fontsize=9)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
