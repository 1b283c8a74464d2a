"""The page of a run: figures, curves, and the same questions before and after."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vtool.message import Json
from vtool.trace import TraceRecord, read_trace

from .markup import Html, tag
from .page import Section, render_page, table
from .steps import view_record

LOOK_AT = 25
"""How many episodes of each kind are read to choose from."""


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
    old = {r.task_id: r for r in read_trace(before, only=a_few_of_each("kind"))}
    new = {r.task_id: r for r in read_trace(after, only=lambda task, meta: task in old)}
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


def a_few_of_each(tag: str, count: int = LOOK_AT) -> Callable[[str, Mapping[str, Json]], bool]:
    """Says yes to the first episodes of each value of a tag."""
    seen: Counter[str] = Counter()

    def wanted(task: str, meta: Mapping[str, Json]) -> bool:
        tags = meta.get("tags")
        value = str(tags.get(tag)) if isinstance(tags, dict) else ""
        seen[value] += 1
        return seen[value] <= count

    return wanted


def choose(old: dict[str, TraceRecord], new: dict[str, TraceRecord], count: int) -> list[str]:
    """Questions to show: those that were learnt first, then one of each other fate.

    Among equals, those in which the trained policy used its tool come first.
    """
    views = {t: (view_record(old[t]), view_record(new[t])) for t in old if t in new}
    fates: dict[tuple[bool | None, bool | None], list[str]] = {}
    for task, (was, now) in sorted(views.items(), key=lambda v: (-(v[1][1].calls > 0), v[0])):
        fates.setdefault((was.right, now.right), []).append(task)
    learnt = fates.pop((False, True), [])
    others = [tasks[0] for _, tasks in sorted(fates.items(), key=str)]
    room = max(1, count - len(others))
    return [*learnt[:room], *others][:count]


def _picture(path: Path, words: str) -> Html:
    data = base64.b64encode(path.read_bytes()).decode()
    return tag("img", src=f"data:image/png;base64,{data}", alt=words, class_="wide")
