"""The flip tool: a picture mirrored."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vtool.media import Image
from vtool.tool import Observation, Way, tool
from vtool.transform import Affine

_MIRRORED = Affine(-1.0, 0.0, 1.0, 0.0, 1.0, 0.0)
_UPSIDE_DOWN = Affine(1.0, 0.0, 0.0, 0.0, -1.0, 1.0)


@tool
def flip(image: Image, direction: Literal["horizontal", "vertical"] = "horizontal") -> Observation:
    """Mirror a picture, for writing and signs seen in a mirror or from behind.

    Args:
        image: Picture to mirror.
        direction: `horizontal` swaps left and right, `vertical` swaps top and bottom.
    """
    across = direction == "horizontal"
    pixels = np.flip(image.pixels, axis=1 if across else 0)
    way = Way(image, _MIRRORED if across else _UPSIDE_DOWN)
    return Observation((Image(np.ascontiguousarray(pixels)),), ways=((way,),))
