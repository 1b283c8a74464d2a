"""Zoom world as a proving ground: once, and twice through a frame."""

from __future__ import annotations

from .dataset import make
from .looking import best, guess
from .world import World

ZOOM = World(
    name="zoom",
    about="Read a digit that is too small for the first look: one zoom, or two.",
    make=make,
    sized=lambda count: {"one": count - count // 2, "two": count // 2},
    tools=("zoom",),
    best=best,
    guess=guess,
    chance=0.1,
)
