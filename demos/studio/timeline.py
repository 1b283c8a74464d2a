"""A video as a timeline: the first glance, every stretch that was looked at again, their frames."""

from __future__ import annotations

from vtool.media import Clip
from vtool.video.source import Video

from ..figure import data_address
from ..markup import Html, join, tag
from .panels import empty, hue
from .path import PathView

WIDTH = 1000
_LEFT, _RIGHT, _ROW, _TOP = 84, 26, 36, 34
_NONE = "No video here."


def plain_timeline(video: Video, clip: Clip) -> Html:
    """A video before anything was asked."""
    rows = [_ticks(0, "glance", clip.times_s, video.duration_s)]
    return tag("div", _axis(video, rows, 1), _frames("the first glance", clip, 0), class_="vs-time")


def timeline(path: PathView, call: int = 0) -> Html:
    """The video of a path, and the look that is chosen, frame by frame.

    Args:
        path: The path.
        call: Number of the chosen call, 0 for the first glance.
    """
    video, glance = _video(path), _glance(path)
    if video is None:
        return empty(_NONE)
    rows = [_ticks(0, "glance", glance.times_s, video.duration_s)] if glance else []
    for row, window in enumerate(path.windows, 1):
        rows.append(_window(row, path, row - 1, video.duration_s, window.number == call))
    chosen = [w for w in path.windows if w.number == call]
    clip = _clip(path, chosen[0].handles) if chosen else glance
    name = f"call {call}" if chosen else "the first glance"
    shown = _frames(name, clip, call if chosen else 0) if clip else None
    return tag("div", _axis(video, rows, 1 + len(path.windows)), shown, class_="vs-time")


def clips(path: PathView, call: int = 0) -> Html:
    """Every look, with what it cost."""
    cards = []
    for placement in path.context.placements():
        clip = path.context.store[placement.handle].value
        if isinstance(clip, Clip):
            number = next((w.number for w in path.windows if placement.handle in w.handles), 0)
            cost = sum(r.length for r in placement.runs)
            cards.append(_card(placement.handle, clip, number, cost, number == call))
    if not cards:
        return empty("The frames that were looked at appear here.")
    return tag("div", cards, class_="vs-film", role="group", aria_label="looks")


def _card(handle: str, clip: Clip, number: int, cost: int, picked: bool) -> Html:
    middle = clip.frames[len(clip.frames) // 2]
    what = f"call {number}" if number else "first glance"
    span = f"{clip.times_s[0]:.1f} to {clip.times_s[-1]:.1f} s"
    return tag(
        "button",
        tag("img", src=data_address(middle), alt=f"a frame of {handle}", width=96, height=96),
        tag("b", f"{handle} · {what}"),
        tag("span", f"{len(clip.frames)} frames, {span}"),
        tag("span", f"{cost} tokens"),
        type="button",
        class_=f"vs-frame{' picked' if picked else ''}",
        data_pick=f"call:{number}",
        aria_label=f"show {handle}, {cost} tokens",
    )


def _axis(video: Video, rows: list[Html], count: int) -> Html:
    duration, height = video.duration_s, _TOP + _ROW * count
    marks = []
    for i in range(9):
        x = _x(duration * i / 8, duration)
        marks.append(tag("line", x1=x, x2=x, y1=28, y2=height, class_="grid"))
        marks.append(tag("text", f"{duration * i / 8:.0f} s", x=x, y=20, class_="axis"))
    told = f"timeline of {duration:.1f} s with {count - 1} looks"
    size = {"viewBox": f"0 0 {WIDTH} {height}", "width": "100%"}
    return tag(
        "svg", join(marks), join(rows), class_="vs-axis", role="img", aria_label=told, **size
    )


def _ticks(row: int, name: str, times: tuple[float, ...], duration: float) -> Html:
    y = _TOP + _ROW * row + _ROW / 2
    dots = [tag("circle", cx=_x(t, duration), cy=f"{y:g}", r=5) for t in times]
    label = tag("text", name, x=4, y=f"{y + 7:g}", class_="name")
    return tag("g", label, dots, class_="glance", data_pick="call:0")


def _window(row: int, path: PathView, index: int, duration: float, picked: bool) -> Html:
    window = path.windows[index]
    top = _TOP + _ROW * row + 4
    left, right = float(_x(window.span.start_s, duration)), float(_x(window.span.end_s, duration))
    clip = _clip(path, window.handles)
    width = max(6.0, right - left)
    bar = tag("rect", x=f"{left:.1f}", y=top, width=f"{width:.1f}", height=_ROW - 8, rx=4)
    y = f"{top + (_ROW - 8) / 2:g}"
    dots = [tag("circle", cx=_x(t, duration), cy=y, r=2.6) for t in (clip.times_s if clip else ())]
    span = f"{window.span.start_s:.1f} to {window.span.end_s:.1f} s"
    beyond = right + 8 if right < WIDTH - 190 else left - 170
    return tag(
        "g",
        tag("text", f"call {window.number}", x=4, y=top + 21, class_="name"),
        bar,
        dots,
        tag("text", span, x=f"{beyond:.1f}", y=top + 21, class_="span"),
        class_="window picked" if picked else "window",
        style=f"--h:{hue(window.number)}",
        data_pick=f"call:{window.number}",
    )


def _frames(name: str, clip: Clip, number: int) -> Html:
    style = f"--h:{hue(number)}" if number else None
    figures = [
        tag(
            "figure",
            tag("img", src=data_address(f), alt=f"frame at {t:.2f} s", width=96, height=96),
            tag("figcaption", f"{t:.2f} s"),
        )
        for f, t in zip(clip.frames, clip.times_s, strict=True)
    ]
    title = tag("p", f"{name}: {len(clip.frames)} frames", class_="vs-label")
    return tag("div", title, tag("div", figures, class_="vs-frames", style=style))


def _x(time_s: float, duration: float) -> str:
    share = min(1.0, max(0.0, time_s / duration)) if duration else 0.0
    return f"{_LEFT + share * (WIDTH - _LEFT - _RIGHT):.1f}"


def _video(path: PathView) -> Video | None:
    return next((e.value for e in path.context.store if isinstance(e.value, Video)), None)


def _glance(path: PathView) -> Clip | None:
    store = path.context.store
    clips = (e.value for e in store if isinstance(e.value, Clip) and e.origin.parent is None)
    return next(clips, None)


def _clip(path: PathView, handles: tuple[str, ...]) -> Clip | None:
    values = (path.context.store[h].value for h in handles if h in path.context.store)
    return next((v for v in values if isinstance(v, Clip)), None)
