"""An open trace, and where its visitor is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtool.trace import TraceRecord

from .path import PathView, ends, view_path


@dataclass(slots=True, eq=False)
class Replay:
    """What one visitor looks at.

    Args:
        records: Of the open trace.
        name: Of the trace.
        at: Which record.
        step: How many steps are shown.
        handle: Picture that is shown large.
        call: Chosen call.
        leaf: Whose path is shown; None for the last.
    """

    records: list[TraceRecord] = field(default_factory=list)
    name: str = ""
    at: int = 0
    step: int = 10**6
    handle: str = ""
    call: int = 0
    leaf: int | None = None

    def path(self) -> PathView | None:
        """The path that is looked at, whole."""
        if not self.records:
            return None
        record = self.records[self.at]
        leaves = ends(record.episode)
        leaf = self.leaf if self.leaf in leaves else leaves[-1]
        return view_path(record.episode, leaf, record=record)
