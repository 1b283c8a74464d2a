"""Tools that worlds bring: zooms that fail, tell nothing, or mislead.

Each keeps the name and the arguments of the real tool, so that one policy can meet all of them;
its version says in every record which one it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from vtool.geometry import Box
from vtool.media import Image
from vtool.observation import Call, Observation
from vtool.tool import Tool, choose

from .drawing import PALETTE

FAILS: Final = 0.5
"""How often the flaky zoom fails."""
FAILED: Final = "the camera did not answer"
_GREY: Final = 128
_NEAR: Final = 60


def variant(name: str, version: str, fn: Any, call_arg: str | None = None) -> Tool:
    """A tool under the name and the arguments of a registered one, with a version of its own."""
    real = choose(name)
    return replace(
        real, spec=replace(real.spec, version=version), fn=fn, call_arg=call_arg, holds=None
    )


def flaky_zoom() -> Tool:
    """The zoom tool, but half of all calls fail, by the call's seed: asking again may help."""
    real = choose("zoom")

    def zoom(image: Image, box: Box, call: Call) -> Observation | Image:
        if np.random.default_rng([call.seed, 5]).random() < FAILS:
            return Observation(text=FAILED)
        seen: Observation | Image = real.fn(image=image, box=box)
        return seen

    return variant("zoom", "flaky-1", zoom, "call")


def empty_zoom() -> Tool:
    """A zoom that gives a grey picture whatever is asked."""

    def zoom(image: Image, box: Box) -> Image:
        sides = [max(16, round(s)) for s in _sides(image, box)]
        return Image(np.full((sides[1], sides[0], 3), _GREY, np.uint8))

    return variant("zoom", "empty-1", zoom)


def misleading_zoom() -> Tool:
    """A zoom into the mirrored picture, each colour of the palette turned into the next."""
    real = choose("zoom")

    def zoom(image: Image, box: Box) -> Observation | Image:
        seen: Observation | Image = real.fn(image=Image(misled(image.pixels)), box=box)
        values = seen.values if isinstance(seen, Observation) else (seen,)
        # Without lineage: these pixels are no view of the picture.
        return Observation(tuple(Image(v.pixels) for v in values if isinstance(v, Image)))

    return variant("zoom", "misleading-1", zoom)


def misled(pixels: Any) -> Any:
    """Mirrored both ways, colours exchanged."""
    out = pixels.copy()
    colors = list(PALETTE.values())
    for color, other in zip(colors, [*colors[1:], colors[0]], strict=True):
        near = np.abs(pixels.astype(np.int64) - np.array(color)).sum(2) < _NEAR
        out[near] = other
    return np.ascontiguousarray(out[::-1, ::-1])


def _sides(image: Image, box: Box) -> tuple[float, float]:
    width, height = image.size
    return (box.x2 - box.x1) * width, (box.y2 - box.y1) * height
