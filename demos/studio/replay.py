"""An open trace, and where its visitor is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vtool.trace import TraceRecord

from .path import PathView, ends, view_path
from .weight import MOST_BYTES, held

MOST = 100
"""Episodes of a trace that can be chosen."""


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
        unpacked: Folder of a trace that was brought; it goes when another one comes.
    """

    records: list[TraceRecord] = field(default_factory=list)
    name: str = ""
    at: int = 0
    step: int = 10**6
    handle: str = ""
    call: int = 0
    leaf: int | None = None
    unpacked: Path | None = None

    def path(self) -> PathView | None:
        """The path that is looked at, whole."""
        if not self.records:
            return None
        record = self.records[self.at]
        leaves = ends(record.episode)
        leaf = self.leaf if self.leaf in leaves else leaves[-1]
        return view_path(record.episode, leaf, record=record)


def within(records: Iterable[TraceRecord]) -> tuple[list[TraceRecord], str]:
    """The first episodes that began, as many as may be kept, and what is said of the others."""
    kept: list[TraceRecord] = []
    size = 0
    for record in records:
        size += held(record.episode.store)
        if kept and (len(kept) >= MOST or size > MOST_BYTES):
            return kept, f"the first {len(kept)} episodes: more are not kept at once"
        if record.episode.contexts:
            kept.append(record)
    return kept, ""
