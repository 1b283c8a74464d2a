"""The edges tool: where a picture's brightness changes, by OpenCV."""

from __future__ import annotations

import numpy as np

from vtool.errors import require
from vtool.media import Image
from vtool.needs import Package
from vtool.tool import Observation, Way, tool

_FULL = 99.0
"""Percentile that is shown white: a few sharp glints must not darken all the rest."""


@tool(needs=(Package("cv2", "vision"),))
def edges(image: Image) -> Observation:
    """Show the edges of a picture, bright where its brightness changes quickly, dark elsewhere.

    Outlines, thin lines and counts of parallel things stand out; colours are lost.

    Args:
        image: Picture to look at.

    Source: H. Scharr, Optimal operators in digital image processing, 2000 (the 3x3 operator).
    """
    cv2 = require("cv2", "vision")
    grey = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY)
    dx, dy = (cv2.Scharr(grey, cv2.CV_32F, *axes) for axes in ((1, 0), (0, 1)))
    strength = cv2.magnitude(dx, dy)
    top = float(np.percentile(strength, _FULL)) or float(strength.max()) or 1.0
    map_ = np.round(np.minimum(strength / top, 1.0) * 255).astype(np.uint8)
    return Observation((Image(np.repeat(map_[:, :, None], 3, axis=2)),), ways=((Way(image),),))
