"""What every batch of an engine shares: the model, its caches, its counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtool.engines.prefix_cache import PrefixCache
from vtool.engines.vision_cache import VisionCache
from vtool.families.vlm import VLM


@dataclass(slots=True)
class Counters:
    """Work done since the engine began; for benchmarks and the step-time split."""

    waves: int = 0
    """Batches."""
    rows: int = 0
    """Completions begun."""
    prefill_tokens: int = 0
    """Prompt tokens that went through the language model, padding aside."""
    cached_tokens: int = 0
    """Prompt tokens that did not have to, counted once per distinct prompt."""
    visual_tokens: int = 0
    """Merged tokens that the vision tower made."""
    decoded_tokens: int = 0
    """Tokens drawn."""
    decode_steps: int = 0
    """Forwards of one token a row."""


@dataclass(slots=True)
class Core:
    """Model, caches and counts."""

    vlm: VLM
    prefixes: PrefixCache
    pictures: VisionCache
    prefill_tokens: int
    """Padded prompt tokens per forward, at most (a single longer prompt goes alone)."""
    counters: Counters = field(default_factory=Counters)
    lean: bool = False
    """Whether `attention.grouped` is in use, set for the duration of a batch."""
