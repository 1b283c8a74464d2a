"""The segment tool: cut out the thing in a box or at some points."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point
from vtool.media import Image
from vtool.tool import Finding, Observation, Way, tool

from .backends.paint import lay_over
from .backends.prompts import Prompt
from .backends.segmenters import DEFAULTS, SegmenterNeed, SegmentSettings, segmenter

MIN_SIDE = 4
"""Pixels below which a box holds nothing that could be cut out."""
MAX_POINTS = 32


@tool(needs=(SegmenterNeed("segment"),), seconds=120)
def segment(
    image: Image,
    box: Box | None = None,
    points: list[Point] | None = None,
    exclude: list[Point] | None = None,
    show: bool = False,
    settings: SegmentSettings = DEFAULTS,
) -> Observation:
    """Cut out the thing in a box or at some points; the mask gets a name for later calls.

    Args:
        image: Picture to look at.
        box: Around the thing.
        points: On the thing.
        exclude: On what does not belong to it.
        show: Whether to also show the picture with the mask laid over it.
        settings: Segmenter and weights.
    """
    prompt = Prompt(box, tuple(points or ()), tuple(exclude or ()))
    check_prompt(prompt, image)
    found = segmenter(settings).segment(image, prompt)
    if not found.cells.any():
        return Observation(text="nothing was cut out there")
    mask = Mask(found.cells)
    told = Finding(mask.box(), "mask", found.score, facts={"share": round(mask.area, 4)})
    words = "score: how well colours came apart" if settings.backend == "grabcut" else ""
    values = (mask, lay_over(image, [mask], ["red"], 0.45)) if show else (mask,)
    way = (Way(image),)
    return Observation(values, words, found=(told,), ways=(way,) * len(values))


def check_prompt(prompt: Prompt, image: Image) -> None:
    """Refuse to guess what is meant.

    Raises:
        ModelFault: `bad_args` without box and points, or with too many; `too_small`.
    """
    if prompt.box is None and not prompt.points:
        raise ModelFault(
            FaultCode.BAD_ARGS, "expected a box or points on the thing, got neither", field="box"
        )
    if len(prompt.points) + len(prompt.exclude) > MAX_POINTS:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected at most {MAX_POINTS} points, got {len(prompt.points) + len(prompt.exclude)}",
            field="points",
        )
    sides = prompt.box_pixels(image.size)
    if sides is not None and min(sides[2] - sides[0], sides[3] - sides[1]) < MIN_SIDE:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"the box is {sides[2] - sides[0]:.0f}x{sides[3] - sides[1]:.0f} pixels, at least "
            f"{MIN_SIDE}x{MIN_SIDE} are needed",
            hint="zoom in first, or name points",
            field="box",
        )
