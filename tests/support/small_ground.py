"""A ground of a few questions, for comparisons that take seconds."""

from __future__ import annotations

GROUND = """
extends: zoom
name: small
data: {world: zoom, options: {seed: 1, one: 12, none: 4, ask: calls}}
eval:
  count: 8
  data: {world: zoom, options: {seed: 9, one: 6, none: 2, ask: calls, split: held_out}}
prompts: 2
group_size: 4
steps: 50
"""
