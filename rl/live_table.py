"""The run on the screen: a live table in a terminal, one line a step anywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from .stages import Stage

HISTORY = 24
"""Steps in the small curve of each row."""

BARS = "▁▂▃▄▅▆▇█"

PLAIN = (
    ("reward", "reward/total"),
    ("accuracy", "accuracy"),
    ("tools", "tool_rate"),
    ("valid", "valid_call_rate"),
    ("turns", "turns"),
    ("entropy", "entropy"),
    ("dead", "dead_groups"),
    ("grad", "grad_norm"),
)
"""Label and metric of what a plain line tells, in this order, before the groups below."""

ROWS = (
    "reward/total",
    "reward/part/",
    "accuracy",
    "accuracy/",
    "tool_rate",
    "valid_call_rate",
    "turns",
    "entropy",
    "dead_groups",
    "stop/",
    "loss",
    "grad_norm",
    "lr",
    "kl",
    "clip_fraction",
    "mismatch_max",
    "step_distance",
    "skipped",
    "time/",
)
"""Order of the table's rows; a name that ends in `/` stands for all metrics below it."""


class LiveTable:
    """Shows the metrics of the latest step.

    Args:
        console: Where to; the standard output if None.
        steps: How many steps the run has, if known; a run of stages tells it of each.
    """

    def __init__(self, console: Console | None = None, steps: int | None = None) -> None:
        self.console = console or Console()
        self.steps = steps
        self.stage: Stage | None = None
        self._past: dict[str, deque[float]] = {}
        self._live: Live | None = None

    def begin(self, stage: Stage) -> None:
        """From here on steps are those of a stage, counted from 1."""
        self.stage, self.steps = stage, stage.steps

    def update(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Show a step."""
        shown = {name: metrics[name] for name in order(metrics)}
        for name, value in shown.items():
            if _is_number(value):
                self._past.setdefault(name, deque(maxlen=HISTORY)).append(float(value))
        if self._live is not None:
            self._live.update(self.table(step, shown), refresh=True)
        else:
            line = plain_line(step, metrics, self.steps)
            self.console.print(self._at("/") + line, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the table: an alarm, a checkpoint."""
        self.console.print(self._at("/") + text, markup=False, soft_wrap=True)

    def where(self, step: int) -> str:
        """Names a step, the stage before it where there are several."""
        return f"{self._at(' of ')}step {step}{f' of {self.steps}' if self.steps else ''}"

    def table(self, step: int, shown: Mapping[str, Any]) -> Table:
        """The table of one step."""
        table = Table(title=escape(self.where(step)), expand=False)
        table.add_column("metric")
        table.add_column("now", justify="right")
        table.add_column(f"last {HISTORY} steps")
        for name, value in shown.items():
            table.add_row(escape(name), number(value), curve(self._past.get(name, ())))
        return table

    def _at(self, of: str) -> str:
        if self.stage is None:
            return ""
        return f"stage {self.stage.number}{of}{self.stage.of} ({self.stage.name}), "

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            # Alarms and warnings go above the table, so it must not be drawn by a timer.
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def order(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that have a row, in the order of `ROWS`."""
    names: list[str] = []
    for row in ROWS:
        if row.endswith("/"):
            names += sorted(name for name in metrics if name.startswith(row))
        elif row in metrics:
            names.append(row)
    return names


def plain_line(step: int, metrics: Mapping[str, Any], steps: int | None = None) -> str:
    """One line for a log file or a pipe."""
    head = f"step {step}/{steps}" if steps else f"step {step}"
    pairs = [f"{label} {number(metrics[name])}" for label, name in PLAIN if name in metrics]
    groups = [
        text
        for text in (
            _group(metrics, "reward/part/", "parts"),
            _group(metrics, "accuracy/", "accuracy by tag"),
            _group(metrics, "stop/", "stops"),
            _group(metrics, "time/", "seconds"),
        )
        if text
    ]
    return " | ".join([" ".join([head, *pairs]), *groups])


def number(value: object) -> str:
    """A metric in a few characters."""
    if not _is_number(value):
        return "-" if value is None else str(value)
    value = float(value)  # type: ignore[arg-type]
    if value == int(value) if abs(value) < 1e6 else False:
        return str(int(value))
    return f"{value:.3f}" if 0.01 <= abs(value) < 1000 else f"{value:.2g}"


def curve(values: Sequence[float] | deque[float]) -> str:
    """Finite values as a row of bars, lowest to highest; gaps for the others."""
    finite = [v for v in values if abs(v) < float("inf")]
    if len(finite) < 2:
        return ""
    low, high = min(finite), max(finite)
    width = (high - low) or 1.0
    return "".join(_bar((v - low) / width) if v in finite else " " for v in values)


def _bar(share: float) -> str:
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def _group(metrics: Mapping[str, Any], prefix: str, label: str) -> str:
    return " ".join([label, *pairs]) if (pairs := list(_pairs(metrics, prefix))) else ""


def _pairs(metrics: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in sorted(n for n in metrics if n.startswith(prefix)):
        yield f"{name.removeprefix(prefix)} {number(metrics[name])}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
