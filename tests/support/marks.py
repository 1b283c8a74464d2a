"""Marks painted on sources, looked for on what tools make of them.

A place on a result leads to a place on a source. To see whether that is true, a mark is painted
there, and the tools run again: the mark must be seen where the place was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_calls import call, painted, replaced, sample

from vtool.geometry import Point, Region, Unmappable
from vtool.media import Image
from vtool.store import Store


@cache
def made(name):
    """The sample call carried out: its store, its arguments, the pictures that it made."""
    store, arguments = sample(name)
    handles = call(name, arguments, store).outcomes[0].handles
    return store, arguments, [h for h in handles if isinstance(store[h].value, Image)]


def block(store, handle, x, y):
    """Where to paint so that it is seen at (x, y) of a result: source, rect; None if nowhere.

    The block is large enough to be a few pixels of the result, and wholly seen there.
    """
    at = store.to_source(Region(handle, Point(x, y)))
    if isinstance(at, Unmappable):
        return None
    size, shown = store.size(at.media), store.size(handle)
    scale = result_pixels(store, handle, x, y)
    if scale is None:
        return None
    r = max(1, math.ceil(1.5 / scale))
    cx, cy = int(at.shape.x * size[0]), int(at.shape.y * size[1])
    rect = (cx - r, cy - r, cx + r + 1, cy + r + 1)
    reach = (r + 2) * max(1.0, scale) * 1.5 + 3
    for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        px, py = x + dx * reach / shown[0], y + dy * reach / shown[1]
        if not (0 <= px <= 1 and 0 <= py <= 1):
            return None
        corner = store.to_source(Region(handle, Point(px, py)))
        if isinstance(corner, Unmappable) or corner.media != at.media:
            return None
    inside = r <= cx < size[0] - r and r <= cy < size[1] - r
    return (at.media, rect, scale) if inside else None


def result_pixels(store, handle, x, y):
    """Pixels of the result a pixel of the source, or None at the border of what maps."""
    width, _ = store.size(handle)
    step = 1 / width if x < 0.5 else -1 / width
    ends = [store.to_source(Region(handle, Point(x + d, y))) for d in (0, step)]
    if any(isinstance(e, Unmappable) for e in ends) or ends[0].media != ends[1].media:
        return None
    size = store.size(ends[0].media)
    a, b = (e.shape for e in ends)
    return 1 / math.hypot((a.x - b.x) * size[0], (a.y - b.y) * size[1])


def strongest(before, after):
    """Middles of the pixels that changed most, (N, 2) in unit coordinates."""
    change = np.abs(after.pixels.astype(int) - before.pixels).sum(axis=2)
    ys, xs = np.nonzero(change >= max(1, change.max() / 2))
    return np.stack([(xs + 0.5) / change.shape[1], (ys + 0.5) / change.shape[0]], axis=1)


def in_source(store, handle, places, media):
    """Unit places on a result, in pixels of its source (N, 2)."""
    leads = [store.to_source(Region(handle, Point(float(x), float(y)))) for x, y in places]
    assert all(not isinstance(at, Unmappable) and at.media == media for at in leads)
    return np.array([(at.shape.x, at.shape.y) for at in leads]) * store.size(media)


def leads_to(result, x, y):
    """Whether a mark painted where (x, y) leads to is seen there, and nowhere else.

    Every pixel that it changes must lead to within a pixel of it; where its outline is seen, its
    middle must lead to within a pixel of its middle, across and down.
    """
    target = block(result.store, result.handle, x, y)
    if target is None:
        return False
    media, rect, scale = target
    seen = result.again(lambda h, v: painted(v, rect) if h == media else v)
    places = strongest(result.store.image(result.handle), seen)
    if not len(places):
        return False
    back = in_source(result.store, result.handle, places, media)
    low, high = np.array(rect[:2]), np.array(rect[2:])
    far = np.linalg.norm(np.maximum(0, np.maximum(low - back, back - high)), axis=1).max()
    assert far <= 1.0, f"seen {far:.2f} pixels beside the mark at ({x:.3f}, {y:.3f})"
    # Its outline is whole: then its middle can be told.
    if np.abs(np.ptp(back, axis=0) + 1 / scale - (high - low)).max() <= 0.75:
        middle = (back.min(axis=0) + back.max(axis=0)) / 2
        off = np.abs(middle - (low + high) / 2).max()
        assert off <= 1.0, f"{off:.2f} pixels of the source off at ({x:.3f}, {y:.3f})"
    return True


@dataclass(frozen=True)
class Result:
    """A picture that tools made, and how to make it again of changed sources."""

    store: Store
    handle: str
    again: Callable[[Callable[[str, object], object]], Image]


def results(name):
    """The pictures of a tool's sample call."""
    store, arguments, handles = made(name)

    def again(index, change):
        fresh = replaced(sample(name)[0], change)
        return fresh.image(call(name, arguments, fresh).outcomes[0].handles[index])

    return [Result(store, h, partial(again, i)) for i, h in enumerate(handles)]


def check_all(result, examples=30):
    """How many places of a coarse grid, and of some random ones, lead to the right place.

    The random ones are mostly at borders and corners, where a mark is seldom seen whole.
    """
    seen = [leads_to(result, x / 6 + 0.013, y / 6 + 0.017) for x in range(1, 6) for y in (1, 3, 5)]

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.nested_given])
    @given(x=st.floats(0, 1), y=st.floats(0, 1))
    def check(x, y):
        seen.append(leads_to(result, x, y))

    check()
    return seen.count(True)
