"""Reward parts: pure functions of a finished episode. Importing this room registers them."""

from . import (
    answer,
    basic,
    calibration,
    calls,
    checklist,
    completion,
    cost,
    evidence,
    points,
    presets,
    shapes,
    shaping,
    temporal,
    tools,
)

__all__ = [
    "answer",
    "basic",
    "calibration",
    "calls",
    "checklist",
    "completion",
    "cost",
    "evidence",
    "points",
    "presets",
    "shapes",
    "shaping",
    "temporal",
    "tools",
]
