"""`metrics.jsonl`: a line a step, the same after a resume as without one; TensorBoard beside it."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

NAME = "metrics.jsonl"

Scalar = bool | int | float | str | None


class MetricsLog:
    """The metrics of a run, on the disk.

    Args:
        folder: Of the run; gets `metrics.jsonl` and `tensorboard/`.
        tensorboard: Also write TensorBoard events. Where that is not installed or fails, it is
            said once and the run goes on: the lines are complete without it.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self.path = Path(folder) / NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        # A process that was killed while writing leaves part of a line.
        os.truncate(self.path, _end_of(self.path, math.inf))
        self._file = self.path.open("a", encoding="utf-8")
        self._curves: Curves | None = Curves(self.path.parent) if tensorboard else None

    def resume(self, step: int) -> None:
        """Forget every line after `step`: a resumed run writes those steps again."""
        self._file.flush()
        os.truncate(self.path, _end_of(self.path, step))
        if self._curves is not None:
            self._curves.purge_after(step)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line `{"step": ..., ...}` and flush it.

        NaN and infinity become null, and their keys are listed under `nonfinite`.

        Raises:
            ValueError: A metric named `step` or `nonfinite`.
            TypeError: A value that is no number, string, boolean or None (0-d arrays are).
        """
        line = to_line(step, metrics)
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        if self._curves is not None and not self._curves.write(step, line):
            self._curves = None

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Curves:
    """TensorBoard events, written as long as that works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        self._purge: int | None = None
        self._writer: Any = None

    def purge_after(self, step: int) -> None:
        """Have TensorBoard hide the events after `step` of an earlier process."""
        self.close()
        self._writer = None
        self._purge = step + 1

    def write(self, step: int, line: Mapping[str, Scalar | list[str]]) -> bool:
        """Write the numbers of a line; False, with a warning, if TensorBoard does not work."""
        try:
            if self._writer is None:
                self._writer = self._open()
            for name, value in line.items():
                if name != "step" and isinstance(value, bool | int | float):
                    self._writer.add_scalar(name, value, step)
            self._writer.flush()
        except Exception as err:  # whatever a tracker does, it may not stop a run
            warnings.warn(
                f"no TensorBoard curves from step {step} on ({err}); {NAME} holds every metric. "
                "Install them with `pip install tensorboard`",
                stacklevel=3,
            )
            return False
        return True

    def close(self) -> None:
        """Close the event file, if there is one."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self._purge)


def to_line(step: int, metrics: Mapping[str, Any]) -> dict[str, Scalar | list[str]]:
    """One line of the log as plain values; raises as `MetricsLog.write`."""
    taken = {"step", "nonfinite"} & metrics.keys()
    if taken:
        raise ValueError(f"no metric may be named {', '.join(sorted(taken))}: the log uses it")
    line: dict[str, Scalar | list[str]] = {"step": int(step)}
    lost = []
    for name, value in metrics.items():
        plain = _scalar(name, value)
        if isinstance(plain, float) and not math.isfinite(plain):
            lost.append(name)
            plain = None
        line[name] = plain
    return {**line, "nonfinite": lost} if lost else line


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's log."""
    return [line for line, _ in _lines(Path(folder) / NAME)]


def _scalar(name: str, value: Any) -> Scalar:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"metric {name!r} is a {type(value).__name__}: give a number, a string, a boolean or None"
    )


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines of a log up to the first that is torn, each with the offset of its end."""
    end = 0
    with path.open("rb") as file:
        for raw in file:
            end += len(raw)
            try:
                line = json.loads(raw)
            except ValueError:
                return
            if not raw.endswith(b"\n") or not isinstance(line, dict) or "step" not in line:
                return
            yield line, end


def _end_of(path: Path, step: float) -> int:
    """Where the part of a log ends that a run resumed after `step` keeps."""
    end = 0
    for line, after in _lines(path):
        if line["step"] > step:
            break
        end = after
    return end
