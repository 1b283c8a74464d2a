"""Which pictures a network can look at."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.media import Image

LEAST_SIDE, MOST_ASPECT = 4, 100
"""Processors scale the long side down to some thousand pixels; less than this leaves nothing."""


def check_extent(image: Image) -> None:
    """Refuse slivers, of which the short side would vanish.

    Raises:
        ModelFault: `too_small` or `bad_aspect`.
    """
    short, long = sorted(image.size)
    told = f"{image.size[0]}x{image.size[1]} pixels"
    if short < LEAST_SIDE:
        message = f"expected a picture of at least {LEAST_SIDE} pixels a side, got {told}"
        raise ModelFault(FaultCode.TOO_SMALL, message, hint="look at a larger part")
    if long > MOST_ASPECT * short:
        message = f"expected sides that differ at most {MOST_ASPECT} times, got {told}"
        raise ModelFault(FaultCode.BAD_ASPECT, message, hint="look at a shorter part")
