"""The large picture: every box on it, numbered as its call; a person may draw one more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtool.geometry import Box
from vtool.media import Clip, Image

from ..addresses import ADDRESSES
from ..markup import Html, join, tag
from .panels import empty, hue
from .path import PathView

LARGEST = 1024
"""Longest side at which a picture is sent to the page."""
NOTHING = "Choose a picture, or one of the examples, and ask."


def plain_board(image: Image | None) -> Html:
    """A picture before anything was asked."""
    if image is None:
        return empty(NOTHING)
    return _board(image, "image_1", "the picture", [])


def board(path: PathView, handle: str, *, call: int = 0, drawn: Box | None = None) -> Html:
    """A picture of a path with the boxes that calls looked at.

    Args:
        path: The path.
        handle: The picture.
        call: Number of the chosen call, 0 for none; the other boxes step back.
        drawn: What the person has drawn on it.
    """
    value = path.context.store[handle].value if handle in path.context.store else None
    image = value.frames[0] if isinstance(value, Clip) else value
    if not isinstance(image, Image):
        return empty(NOTHING)
    width, height = image.size
    spots = [s for s in path.spots if s.handle == handle]
    marks = [
        _mark(s.number, s.box, width, height, dim=bool(call) and s.number != call) for s in spots
    ]
    if drawn is not None:
        marks.append(_drawn(drawn, width, height))
    parent = path.context.store[handle].origin.parent
    told = f"{handle} · {width}×{height}" + (f" · cut from {parent}" if parent else "")
    boxes = f", {len(spots)} box{'' if len(spots) == 1 else 'es'}"
    return _board(image, handle, told, marks, told + boxes)


@dataclass(frozen=True, slots=True)
class Spotted:
    """A numbered box."""

    number: int
    box: Box


def marked_board(
    image: Image, handle: str, caption: str, spots: Sequence[Spotted], drawn: Box | None = None
) -> Html:
    """A picture that no path shows, with numbered boxes on it."""
    width, height = image.size
    marks = [_mark(s.number, s.box, width, height, dim=False) for s in spots]
    if drawn is not None:
        marks.append(_drawn(drawn, width, height))
    boxes = f", {len(spots)} box{'' if len(spots) == 1 else 'es'}"
    return _board(image, handle, caption, marks, caption + boxes)


def _board(
    image: Image, handle: str, caption: str, marks: list[Html], alt: str | None = None
) -> Html:
    width, height = image.size
    svg = tag(
        "svg",
        join(marks),
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    picture = tag(
        "div",
        tag("img", src=address(image), alt=alt or caption, draggable="false"),
        svg,
        class_="vs-canvas",
        style=f"--ratio:{width / height:.6f};aspect-ratio:{width}/{height}",
        data_handle=handle,
        data_ratio=f"{width / height:.4f}",
    )
    return tag("figure", picture, tag("figcaption", caption), class_="vs-board")


def address(image: Image) -> str:
    """The picture as a data address, sharp enough for a board."""
    return ADDRESSES.of(image, LARGEST, lossless=200_000)


def _mark(number: int, box: Box, width: int, height: int, *, dim: bool) -> Html:
    """A box with its number at a corner, in units of the picture."""
    x, y, w, h = _pixels(box, width, height)
    unit = max(width, height) / 22
    top = y - unit if y >= unit else y
    frame = {"x": _n(x), "y": _n(y), "width": _n(w), "height": _n(h)}
    plate = {"x": _n(x), "y": _n(top), "width": _n(unit), "height": _n(unit), "rx": _n(unit / 5)}
    at = {"x": _n(x + unit / 2), "y": _n(top + unit * 0.74), "font_size": _n(unit * 0.74)}
    return tag(
        "g",
        tag("rect", class_="halo", **frame),
        tag("rect", class_="box", **frame),
        tag("rect", class_="plate", **plate),
        tag("text", str(number), **at),
        class_="vs-mark dim" if dim else "vs-mark",
        style=f"--h:{hue(number)}",
        data_pick=f"call:{number}",
    )


def _drawn(box: Box, width: int, height: int) -> Html:
    x, y, w, h = _pixels(box, width, height)
    frame = {"x": _n(x), "y": _n(y), "width": _n(w), "height": _n(h)}
    halo, line = tag("rect", class_="halo", **frame), tag("rect", class_="box", **frame)
    return tag("g", halo, line, class_="vs-mark drawn")


def _pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    x, y = box.x1 * width, box.y1 * height
    return x, y, (box.x2 - box.x1) * width, (box.y2 - box.y1) * height


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
