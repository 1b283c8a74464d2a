"""A seat: who plays a role in an episode, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtool.engines.base import ChatEngine, TokenEngine
from vtool.memory import Memory
from vtool.record import Sampling
from vtool.render import Renderer


@dataclass(frozen=True, slots=True)
class Seat:
    """One role of an episode; several seats may share an engine or differ in everything.

    Args:
        name: Such as ``policy``, ``planner``, ``judge``.
        renderer: How this seat's model writes. A chat engine's turns are read by its dialect.
        engine: Where completions come from.
        sampling: How they are drawn.
        memory: When history is folded into a new prompt; None never folds.
    """

    name: str
    renderer: Renderer
    engine: TokenEngine | ChatEngine
    sampling: Sampling = field(default_factory=Sampling)
    memory: Memory | None = None
