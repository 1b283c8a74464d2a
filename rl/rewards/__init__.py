"""Reward parts: pure functions of a finished episode. Importing this room registers them."""

from . import basic, curiosity, evidence, temporal

__all__ = ["basic", "curiosity", "evidence", "temporal"]
