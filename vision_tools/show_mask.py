"""The show_mask tool: a named mask laid over its picture."""

from __future__ import annotations

from typing import Literal

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask
from vtool.media import Image
from vtool.tool import Observation, Way, tool

from .backends.paint import lay_over

Colour = Literal["red", "green", "blue", "yellow", "magenta", "cyan"]


@tool
def show_mask(
    image: Image, mask: Mask, color: Colour = "red", opacity: float = 0.45
) -> Observation:
    """Show a picture with a mask laid over it in colour, its edge drawn.

    Args:
        image: Picture that the mask was made from.
        mask: Name of the mask.
        color: Of the mask.
        opacity: 0 draws the edge only, 1 hides what lies below.
    """
    if not 0 <= opacity <= 1:
        raise ModelFault(
            FaultCode.BAD_ARGS, f"opacity lies between 0 and 1, got {opacity}", field="opacity"
        )
    return Observation((lay_over(image, [mask], [color], opacity),), ways=((Way(image),),))
