"""R10, shaping: length, and what changes with the step of training."""

from __future__ import annotations

from vtool.record import Episode
from vtool.reward import reward
from vtool.task import Task


@reward("overlong")
def overlong(
    episode: Episode, task: Task, *, limit: int = 20480, buffer: int = 4096, factor: float = 1.0
) -> float:
    """0 up to limit - buffer policy tokens, then falling to -`factor` at the limit.

    Source: DAPO eq. 13. Trap: tokens of the policy only; what tools said is not its length.
    """
    tokens = sum(int(c.mask().sum()) for c in episode.contexts)
    return soft_overlong(tokens, limit, buffer) * factor


@reward("length_words")
def length_words(episode: Episode, task: Task, *, target: int = 512) -> float:
    """min(1, words of thought / target).

    Source: ToolRL's length ablation (up to 512 words). Trap: it hurt small models there; it is here
    to be measured, not to be used.
    """
    words = sum(len(a.thought.split()) for a in episode.actions())
    return min(1.0, words / target)


@reward("training_step")
def training_step(episode: Episode, task: Task, *, step: int = 0) -> float:
    """The step of training, for the combine `scheduled`."""
    return float(step)


def soft_overlong(tokens: int, limit: int, buffer: int) -> float:
    """DAPO's soft overlong punishment, in [-1, 0]."""
    if not 0 < buffer <= limit:
        raise ValueError(f"overlong needs 0 < buffer <= limit, got {buffer} and {limit}")
    return -min(1.0, max(0.0, (tokens - (limit - buffer)) / buffer))
