"""What lies on a workbench, and what a tool answered, as markup."""

from __future__ import annotations

import json

import numpy as np

from vtool.geometry import Box, Mask, Point, Region
from vtool.media import Clip, Image
from vtool.message import Outcome
from vtool.store import Cloud, DepthMap, Entry, Table
from vtool.video.source import Video

from ..figure import data_address
from ..markup import Html, join, tag
from .board import Spotted, marked_board
from .panels import THUMB, empty, fit, notice
from .workbench import Workbench, place

ROWS = 12
"""Rows of a table, and findings, that are shown."""
DOT = 0.012
"""Half the side of the box that stands for a point."""


def picture_of(entry: Entry) -> Image | None:
    """A thing as a picture, where it can be seen: masks and depth maps in grey."""
    value = entry.value
    if isinstance(value, Image):
        return value
    if isinstance(value, Clip):
        return value.frames[len(value.frames) // 2]
    if isinstance(value, Mask):
        return grey(value.cells.astype(np.float32))
    if isinstance(value, DepthMap):
        known = np.where(value.valid, value.values, np.nan)
        low, high = np.nanmin(known), np.nanmax(known)
        near = 1 - (known - low) / max(float(high - low), 1e-9)
        return grey(np.nan_to_num(0.15 + 0.85 * near))
    return None


def grey(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Image:
    """Numbers from 0 to 1 as a picture."""
    cells = (255 * np.clip(values, 0, 1)).astype(np.uint8)
    return Image(np.repeat(cells[:, :, None], 3, axis=2))


def bench_board(bench: Workbench) -> Html:
    """The thing that is shown large, with what was found on it."""
    if bench.handle not in bench.store:
        return empty("Bring a picture or a video, choose a tool, and run it.")
    entry = bench.store[bench.handle]
    image = picture_of(entry)
    if image is None:
        return tag("pre", described(entry), class_="vs-pre")
    outcome = bench.outcome
    places = [f.region for f in outcome.found] if outcome else []
    spots = [
        Spotted(n, _around(r))
        for n, r in enumerate(places, 1)
        if r.media == bench.handle and _around(r) is not None
    ]
    caption = f"{bench.handle} · {described(entry)}"
    return marked_board(image, bench.handle, caption, spots, bench.drawn)


def _around(region: Region) -> Box | None:
    shape = region.shape
    if isinstance(shape, Point):
        x1, y1 = max(0.0, shape.x - DOT), max(0.0, shape.y - DOT)
        return Box(x1, y1, min(1.0, shape.x + DOT), min(1.0, shape.y + DOT))
    if isinstance(shape, Mask):
        return shape.box()
    return shape if isinstance(shape, Box) else None


def described(entry: Entry) -> str:
    """A thing in a few words."""
    value = entry.value
    if isinstance(value, Image):
        return f"picture of {value.size[0]}×{value.size[1]}"
    if isinstance(value, Clip):
        first, last = value.times_s[0], value.times_s[-1]
        return f"{len(value.frames)} frames from {first:.2f} to {last:.2f} s"
    if isinstance(value, Mask):
        return f"mask over {value.area:.1%} of its picture"
    if isinstance(value, DepthMap):
        return "depth in metres, near is light" if value.metric else "relative depth, near is light"
    if isinstance(value, Cloud):
        return f"{len(value.points)} points in space"
    if isinstance(value, Video):
        return f"video, {value.describe()}"
    rows = [json.dumps(dict(r), ensure_ascii=False) for r in value.rows[:ROWS]]
    return "\n".join([f"table of {len(value.rows)} rows", *rows])


def bench_strip(bench: Workbench) -> Html:
    """Everything on the bench; a click shows it large."""
    cards = [_card(e, e.handle == bench.handle) for e in bench.store]
    if not cards:
        return empty("Files and results lie here, each under the name that later calls take.")
    return tag("div", cards, class_="vs-film", role="group", aria_label="on the bench")


def _card(entry: Entry, picked: bool) -> Html:
    image = picture_of(entry)
    shown: Html | None = None
    if image is not None:
        width, height = fit(image.size, THUMB)
        address = data_address(image, 2 * THUMB)
        shown = tag("img", src=address, alt=entry.handle, width=width, height=height)
    about = described(entry).split("\n")[0]
    return tag(
        "button",
        shown,
        tag("b", entry.handle),
        tag("span", about),
        type="button",
        class_=f"vs-frame{' picked' if picked else ''}",
        data_pick=f"picture:{entry.handle}",
        aria_label=f"show {entry.handle}, {about}",
    )


def findings(outcome: Outcome) -> Html:
    """What was found, by the numbers of its boxes."""
    head = tag("tr", [tag("th", h) for h in ("", "what", "where", "score", "facts")])
    rows = [
        tag(
            "tr",
            tag("td", str(n)),
            tag("td", f.label),
            tag("td", f"{f.region.media}: {place(f.region.shape)}"),
            tag("td", "" if f.score is None else f"{f.score:.2f}"),
            tag("td", ", ".join(f"{k} {v}" for k, v in f.facts.items())),
        )
        for n, f in enumerate(outcome.found[:ROWS], 1)
    ]
    more = len(outcome.found) - ROWS
    told = tag("p", f"and {more} more", class_="vs-note") if more > 0 else None
    table = tag("table", head, rows, class_="vs-table")
    return join([tag("div", table, class_="vs-scroll"), *([told] if told else [])])


def answer(bench: Workbench) -> Html:
    """What the tool said, as a model would read it."""
    outcome = bench.outcome
    if bench.last is None or outcome is None:
        return empty("What the tool answers appears here, as a model would read it.")
    if outcome.fault is not None:
        hint = f" {outcome.fault.hint}" if outcome.fault.hint else ""
        return notice(f"{outcome.fault.code}: {outcome.fault.message}.{hint}", "bad")
    made = ", ".join(outcome.handles) or "nothing new"
    took = f"{outcome.seconds * 1000:.0f} ms" + (", from the cache" if outcome.cached else "")
    parts: list[Html] = [tag("p", f"made {made} in {took}", class_="vs-label")]
    if bench.last.text:
        parts.append(tag("pre", bench.last.text, class_="vs-pre"))
    if outcome.found:
        parts.append(findings(outcome))
    tables = [bench.store[h] for h in outcome.handles if isinstance(bench.store[h].value, Table)]
    parts += [tag("pre", described(t), class_="vs-pre") for t in tables]
    return join(parts)
