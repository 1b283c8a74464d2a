"""`vtool view`: a trace as one page."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from vtool.errors import TraceError
from vtool.trace import TraceRecord, read_trace

from .page import Section, render_page
from .steps import view_record

MAX_EPISODES = 200


def page_of_trace(trace: Path | str, *, limit: int = MAX_EPISODES) -> str:
    """The page of a trace's first episodes.

    Args:
        trace: The folder, or one that holds it as ``trace/``.
        limit: At most this many episodes: pictures are embedded, and pages have their weight.

    Raises:
        TraceError: No trace there, or none that can be trusted.
    """
    folder = find_trace(trace)
    records = list(islice(read_trace(folder), limit + 1))
    if not records:
        raise TraceError(f"{folder} holds no finished episode yet")
    more = len(records) > limit
    return render_page(
        _title(folder),
        _lead(records[:limit], more),
        [section("", "", records[:limit])],
    )


def section(
    title: str, lead: str, records: Iterable[TraceRecord], *, open_first: int = 1
) -> Section:
    """Episodes below a heading."""
    return Section(title, lead, tuple(view_record(r) for r in records), open_first)


def write_page(page: str, path: Path | str) -> Path:
    """Write a page to a file; folders are made."""
    out = Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8", errors="backslashreplace")
    return out


def find_trace(path: Path | str) -> Path:
    """A trace folder, or the one that a run folder holds: of training, that of its last step.

    Raises:
        TraceError: Neither.
    """
    top = Path(path)
    steps = [*top.glob("step-*"), *top.glob("trace/step-*")]
    last = sorted(steps, key=lambda f: f.name, reverse=True)
    for folder in (top, top / "trace", *last):
        if (folder / "episodes.jsonl").is_file():
            return folder
    raise TraceError(f"expected a trace (a folder with episodes.jsonl), got {path}")


def _title(folder: Path) -> str:
    if folder.parent.name == "trace":
        return f"{folder.parent.parent.name}, {folder.name}"
    return folder.parent.name if folder.name == "trace" else folder.name


def _lead(records: list[TraceRecord], more: bool) -> str:
    count = len(records)
    tasks = len({r.task_id for r in records})
    told = f"{count} episode{'' if count == 1 else 's'} of {tasks} task{'' if tasks == 1 else 's'}"
    return told + (f"; the trace holds more, the first {count} are shown" if more else "")
