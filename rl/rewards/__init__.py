"""Reward parts: pure functions of a finished episode. Importing this room registers them."""

from . import basic, curiosity, evidence

__all__ = ["basic", "curiosity", "evidence"]
