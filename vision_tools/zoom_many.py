"""The zoom_many tool: several parts of one picture, each as a picture of its own."""

from __future__ import annotations

from vtool.errors import ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.tool import Observation, tool

from .limits import check_count
from .zoom import zoom

MOST = 8
"""Pictures of one call: each costs the model tokens."""


@tool
def zoom_many(image: Image, boxes: list[Box]) -> Observation:
    """Look closer at several parts of one picture at once; each comes back as its own picture.

    The parts are cut from the picture's own pixels, in the order given. Parts that are too small
    grow about their centre.

    Args:
        image: Picture to look into.
        boxes: Parts to look at, at most 8.
    """
    check_count("boxes", boxes, 1, MOST)
    seen = [_look(image, box, number) for number, box in enumerate(boxes, 1)]
    grown = any(one.effective for one in seen)
    used = [(one.effective or (box,))[0] for one, box in zip(seen, boxes, strict=True)]
    return Observation(tuple(one.values[0] for one in seen), effective=tuple(used) if grown else ())


def _look(image: Image, box: Box, number: int) -> Observation:
    try:
        seen: Observation = zoom(image, box)
    except ModelFault as fault:
        raise ModelFault(
            fault.code, f"box {number}: {fault.message}", hint=fault.hint, field="boxes"
        ) from None
    return seen
