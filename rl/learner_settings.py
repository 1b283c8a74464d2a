"""How weights are changed, as frozen data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .aggregate import Mode
from .loss_spec import LossSpec
from .preference import PreferenceSpec
from .recipe_check import check_learner
from .self_imitation import ReplaySpec


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How weights are changed.

    Args:
        lr: Peak learning rate.
        betas: Of AdamW.
        eps: Of AdamW.
        weight_decay: Of AdamW.
        grad_clip: Largest gradient norm.
        warmup: Steps of linear warm-up.
        schedule: ``constant`` or ``cosine`` (to 0 at the last step).
        inner_epochs: Updates on each batch of samples.
        aggregation: How tokens and sequences are weighted.
        aggregation_length: Divisor of the sum-norm mode.
        aggregation_average: Whether the sum-norm mode also divides by the count of sequences.
        loss: The surrogate.
        replay: Of samples that are learnt from again (self-imitation).
        preference: Of pairs (direct preference).
        row_tokens: Rows into which contexts are packed; 0 pads each to its own row.
        batch_tokens: Tokens of a micro-batch, padding included.
        share_prefixes: Whether the beginning that samples have in common, such as the prompt of a
            group, is computed once for all (models that attend by ``sdpa``); the numbers are the
            same but for rounding.
        max_skipped: Steps in a row without finite gradient, after which learning stops.
        freeze: ``vision`` and ``language`` keep their weights if named.
        checkpointing: Keep only the inputs of layers for the backward pass (less memory, more
            time).
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    warmup: int = 0
    schedule: str = "constant"
    inner_epochs: int = 1
    aggregation: Mode = Mode.TOKEN_MEAN
    aggregation_length: float | None = None
    aggregation_average: bool = False
    loss: LossSpec = field(default_factory=lambda: LossSpec(clip_low=0.2, clip_high=0.28))
    replay: ReplaySpec = field(default_factory=ReplaySpec)
    preference: PreferenceSpec = field(default_factory=PreferenceSpec)
    row_tokens: int = 0
    batch_tokens: int = 16384
    share_prefixes: bool = True
    max_skipped: int = 5
    freeze: tuple[str, ...] = ()
    checkpointing: bool = False

    def __post_init__(self) -> None:
        check_learner(self)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.schedule == "cosine":
            return self.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
        return self.lr * warm
