"""Depth as colours: the one place that says which colour is near.

The words (`DIRECTION`), the colours (`paint`) and the scale bar (`render`) stand together, so
that no docstring, legend or picture can contradict another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from vtool.geometry import Box
from vtool.media import Image
from vtool.store import DepthMap

DIRECTION = "red is near, blue is far, grey is unknown"
"""What the colours of every depth picture mean."""

_TURBO = np.frombuffer(
    bytes.fromhex(
        "30123b3f3e9c4666dd458cfd2fb2f41ad4d022ebaa52fa7a8bff4b"
        "b7f735dbe236f5c53afea130f9751de84b0cce2d04a916017a0403"
    ),
    np.uint8,
).reshape(18, 3)
"""Every 15th colour of Turbo, blue to red; lines between them stay within 6 of 255.

Source: A. Mikhailov, Turbo, an improved rainbow colormap for visualization, 2019.
"""
_UNKNOWN = (128, 128, 128)
_LEAST_SIDE = 240
_TICKS = 5
_SHOWN_SHARE = (2.0, 98.0)
"""Percentiles between which colours are spread: a few wild pixels must not flatten the rest."""

F = TypeVar("F", bound=Callable[..., Any])


def says_direction(fn: F) -> F:
    """Fill `{DIRECTION}` in a docstring; below `@tool`, so that models read the result."""
    fn.__doc__ = (fn.__doc__ or "").replace("{DIRECTION}", DIRECTION)
    return fn


def paint(nearness: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours of nearness: 0 the farthest, 1 the nearest, NaN unknown.

    Args:
        nearness: Any shape (...,); values outside 0 to 1 take the end colours.

    Returns:
        RGB (..., 3).
    """
    known = np.isfinite(nearness)
    at = np.clip(np.where(known, nearness, 0.0), 0.0, 1.0) * (len(_TURBO) - 1)
    stops = np.arange(len(_TURBO))
    colours = np.stack([np.interp(at, stops, _TURBO[:, c]) for c in range(3)], axis=-1)
    return np.where(known[..., None], colours.round(), _UNKNOWN).astype(np.uint8)


def spread(depth: DepthMap) -> tuple[float, float]:
    """The nearest and the farthest depth that are told apart by colour; equal on a flat map.

    Raises:
        ValueError: No pixel has a depth.
    """
    values = depth.values[depth.valid]
    if values.size == 0:
        raise ValueError("no pixel of the depth map has a depth")
    near, far = np.percentile(values.astype(np.float64), _SHOWN_SHARE)
    return float(near), float(far)


def nearness(depth: DepthMap) -> NDArray[np.float64]:
    """Depth turned round and spread over 0 to 1 (H, W), NaN where there is none."""
    near, far = spread(depth)
    values = np.where(depth.valid, depth.values, np.nan).astype(np.float64)
    return 1.0 - (values - near) / (far - near) if far > near else values * 0.0 + 0.5


def render(depth: DepthMap) -> tuple[Image, Box]:
    """A depth map as a picture with a scale bar, and the part of it that the map fills.

    Small maps are enlarged by whole factors, so that the words beside them can be read.
    """
    near, far = spread(depth)
    picture = paint(nearness(depth))
    factor = max(1, -(-_LEAST_SIDE // min(picture.shape[:2])))
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = picture.shape[:2]
    font = ImageFont.load_default(min(40, max(12, height // 24)))
    panel = _panel(height, _labels(near, far, depth.metric), font)
    caption = _caption(width + panel.width, depth.metric)
    sheet = PILImage.new("RGB", (width + panel.width, height + caption.height), "white")
    sheet.paste(PILImage.fromarray(picture), (0, 0))
    sheet.paste(panel, (width, 0))
    sheet.paste(caption, (0, height))
    return Image(np.asarray(sheet)), Box(0.0, 0.0, width / sheet.width, height / sheet.height)


def number(value: float) -> str:
    """Three figures, no exponent for what a room or a street holds."""
    size = abs(value)
    return f"{value:.3g}" if size < 100 or size >= 1e6 else f"{value:.0f}"


def _labels(near: float, far: float, metric: bool) -> list[str]:
    unit = " m" if metric else ""
    return [f"{number(v)}{unit}" for v in np.linspace(near, far, _TICKS)]


def _panel(height: int, labels: list[str], font: Any) -> PILImage.Image:
    """The bar, nearest on top, with its numbers and the words near and far."""
    line = int(font.size * 1.3)
    bar, gap = line, max(4, line // 3)
    wide = max(int(font.getlength(text)) for text in (*labels, "near", "far"))
    panel = PILImage.new("RGB", (bar + 3 * gap + wide, height), "white")
    top, bottom = line + gap, height - line - gap
    ramp = paint(np.linspace(1.0, 0.0, bottom - top))
    panel.paste(PILImage.fromarray(np.repeat(ramp[:, None], bar, axis=1)), (gap, top))
    draw = ImageDraw.Draw(panel)
    draw.text((gap, gap // 2), "near", "black", font)
    draw.text((gap, bottom + gap // 2), "far", "black", font)
    for i, text in enumerate(labels):
        y = top + (bottom - 1 - top) * i / (len(labels) - 1)
        draw.line((gap + bar, y, gap + bar + gap // 2, y), "black", max(1, font.size // 12))
        anchor = "lt" if i == 0 else "lb" if i == len(labels) - 1 else "lm"
        draw.text((2 * gap + bar, y), text, "black", font, anchor=anchor)
    return panel


def _caption(width: int, metric: bool) -> PILImage.Image:
    """The direction of nearness in words, in the largest letters that fit."""
    words = f"{DIRECTION}; {'metres' if metric else 'relative, no unit'}"
    size = 28
    while size > 8 and ImageFont.load_default(size).getlength(words) > width - 8:
        size -= 1
    caption = PILImage.new("RGB", (width, round(size * 1.5)), "white")
    font = ImageFont.load_default(size)
    ImageDraw.Draw(caption).text((4, caption.height / 2), words, "black", font, anchor="lm")
    return caption
