"""Pictures on a page: pixels once as a style rule, boxes as vector marks above them."""

from __future__ import annotations

from vtool.media import Image

from .addresses import ADDRESSES
from .markup import Html, join, tag
from .steps import Mark, Sight

HUES = (8, 205, 145, 280, 45, 325, 175, 245)
"""Hues of the numbered boxes, in turn."""

MAX_SIDE = 768
"""Larger pictures are embedded at this side: the page shows them no larger."""


class Gallery:
    """Pixels of a page, each kept once however often it is shown."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def css(self) -> str:
        """The style rules that hold the pixels."""
        return "\n".join(self._rules.values())

    def figure(self, sight: Sight) -> Html:
        """A picture with its boxes, and how small the model saw it."""
        width, height = sight.image.size
        label = sight.caption or sight.handle
        picture = tag(
            "div",
            self._overlay(sight),
            class_=f"pic {self._keep(sight.image)}",
            style=f"aspect-ratio:{width}/{height};--w:{_width(width, height)}px",
            role="img",
            aria_label=label,
        )
        return tag("figure", picture, self._as_seen(sight), tag("figcaption", label))

    def _as_seen(self, sight: Sight) -> Html | None:
        """The picture at the size at which the model saw it, where that is smaller."""
        if sight.shown is None or sight.marks or sight.shown >= sight.image.size:
            return None
        width, height = sight.shown
        small = sight.image.resize(sight.shown)
        box = tag(
            "div",
            class_=f"pic seen {self._keep(small)}",
            style=f"aspect-ratio:{width}/{height}",
            role="img",
            aria_label="as the model saw it",
        )
        return tag("div", box, tag("span", f"seen at {width}×{height}"), class_="inset")

    def _overlay(self, sight: Sight) -> Html | None:
        if not sight.marks:
            return None
        width, height = sight.image.size
        marks = [m for mark in sight.marks for m in _mark(mark, width, height)]
        return tag(
            "svg",
            join(marks),
            viewBox=f"0 0 {width} {height}",
            preserveAspectRatio="none",
            aria_hidden="true",
        )

    def _keep(self, image: Image) -> str:
        name = f"m{image.digest[:16]}"
        if name not in self._rules:
            self._rules[name] = f".{name}{{background-image:url({data_address(image)})}}"
        return name


def data_address(image: Image, side: int = MAX_SIDE) -> str:
    """The picture as a data address: PNG, or JPEG where that is much smaller.

    Args:
        image: The picture.
        side: Longest side at which it is sent.
    """
    return ADDRESSES.of(image, side, lossless=40_000)


def _mark(mark: Mark, width: int, height: int) -> list[Html]:
    """A box with its number at the corner; strokes keep their width at any scale."""
    x, y = mark.box.x1 * width, mark.box.y1 * height
    w, h = (mark.box.x2 - mark.box.x1) * width, (mark.box.y2 - mark.box.y1) * height
    unit = max(width, height) / 24
    style = f"--h:{HUES[(mark.number - 1) % len(HUES)]}"
    frame = {"x": _n(x), "y": _n(y), "width": _n(w), "height": _n(h), "style": style}
    box = tag("rect", class_="box used" if mark.used else "box", **frame)
    if mark.used:
        return [tag("rect", class_="halo", **frame), box]
    top = y - unit if y >= unit else y + h
    plate = tag(
        "rect", class_="plate", x=_n(x), y=_n(top), width=_n(unit), height=_n(unit), style=style
    )
    number = tag(
        "text",
        str(mark.number),
        x=_n(x + unit / 2),
        y=_n(top + unit * 0.76),
        font_size=_n(unit * 0.78),
    )
    return [tag("rect", class_="halo", **frame), box, plate, number]


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _width(width: int, height: int) -> int:
    """Width at which a picture is laid out: small ones grow, tall ones do not fill the page."""
    wanted = max(width, 200) if width >= height else max(width, 200 * width // height)
    return max(90, min(wanted, 264, 264 * width // height))
