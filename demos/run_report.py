"""The page of a run: figures, curves, and the same questions before and after."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from vtool.trace import TraceRecord, read_trace

from .markup import Html, tag
from .page import Section, render_page, table
from .steps import view_record

LOOK_AT = 60
"""How many episodes of each trace are read to choose from."""


def run_page(
    title: str,
    lead: str,
    rows: Sequence[Sequence[str]],
    *,
    curves: Path | None,
    before: Path,
    after: Path,
    count: int = 6,
) -> str:
    """The page.

    Args:
        title: Heading.
        lead: What was learnt, in a sentence.
        rows: Figures; the first row is the head.
        curves: PNG.
        before: Trace of the untrained policy.
        after: Trace of the trained one, on the same questions.
        count: Questions shown.
    """
    old = {r.task_id: r for r in islice(read_trace(before), LOOK_AT)}
    new = {r.task_id: r for r in islice(read_trace(after), LOOK_AT)}
    chosen = choose(old, new, count)
    top: list[Html] = [table(rows[0], rows[1:])]
    if curves is not None:
        top.append(_picture(curves, "curves of the run"))
    views = [("Before training", old), ("After training, the same questions", new)]
    sections = [
        Section(name, "", tuple(view_record(records[t]) for t in chosen), open_first=2)
        for name, records in views
    ]
    return render_page(title, lead, sections, top=top)


def choose(old: dict[str, TraceRecord], new: dict[str, TraceRecord], count: int) -> list[str]:
    """Questions to show: those that were learnt first, then one of each other fate."""
    fates: dict[tuple[bool | None, bool | None], list[str]] = {}
    for task in (t for t in old if t in new):
        fate = (view_record(old[task]).right, view_record(new[task]).right)
        fates.setdefault(fate, []).append(task)
    learnt = fates.pop((False, True), [])
    others = [tasks[0] for _, tasks in sorted(fates.items(), key=str)]
    room = max(1, count - len(others))
    return [*learnt[:room], *others][:count]


def _picture(path: Path, words: str) -> Html:
    data = base64.b64encode(path.read_bytes()).decode()
    return tag("img", src=f"data:image/png;base64,{data}", alt=words, class_="wide")
