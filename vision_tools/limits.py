"""Limits of what a call may ask for, each answered with a typed fault that says the limit."""

from __future__ import annotations

from collections.abc import Sequence

from vtool.errors import FaultCode, ModelFault
from vtool.media import MAX_PIXELS

LONGEST_ASPECT = 200.0
"""Families refuse longer pictures (qwen-vl-utils `MAX_RATIO`)."""
MOST_PLACES = 64
"""Boxes or points of one call."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high].

    Raises:
        ModelFault: `bad_args`.
    """
    if not low <= value <= high:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected {name!r} from {low:g} to {high:g}, got {value:g}",
            field=name,
        )


def check_count(name: str, things: Sequence[object], low: int, high: int) -> None:
    """Refuse a list of fewer than `low` or more than `high` things.

    Raises:
        ModelFault: `bad_args`.
    """
    if not low <= len(things) <= high:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"expected {low} to {high} {name}, got {len(things)}",
            field=name,
        )


def check_result(width: float, height: float) -> None:
    """Refuse a result that is too large to keep, or too long for any family to be shown.

    Raises:
        ModelFault: `too_large` or `bad_aspect`.
    """
    if width * height > MAX_PIXELS:
        raise ModelFault(
            FaultCode.TOO_LARGE,
            f"the result would be {width:.0f}x{height:.0f} pixels, at most {MAX_PIXELS} in all",
        )
    if max(width, height) > LONGEST_ASPECT * min(width, height):
        raise ModelFault(
            FaultCode.BAD_ASPECT,
            f"the result would be {width:.0f}x{height:.0f} pixels: sides differ more than "
            f"{LONGEST_ASPECT:.0f} times",
        )
