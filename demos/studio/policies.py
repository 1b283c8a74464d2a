"""Who may be asked: the shipped policies, a script, and checkpoints by name; loaded when asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtool.errors import UnknownName
from vtool.loading import tools_of
from vtool.record import Sampling
from vtool.seat import Seat
from vtool.shipped import shipped_checkpoints

from .script import script_seat

SCRIPT = "script"
VIDEO_TOOL = "resample"
"""What a shipped policy looks into videos with."""
_PREFIX_BYTES = 1 << 25
_VISION_BYTES = 1 << 24

Maker = Callable[[], "Cast"]


@dataclass(frozen=True, slots=True)
class Cast:
    """A policy that is ready to play."""

    name: str
    seat: Seat
    engine: str
    """What runs it, in words, such as ``hf on cpu``."""

    def sampling(self, temperature: float) -> Cast:
        """The same, drawing at this temperature."""
        return replace(self, seat=replace(self.seat, sampling=Sampling(temperature=temperature)))


@dataclass(slots=True)
class Policies:
    """Policies by name; each is loaded once.

    Args:
        more: Checkpoints beside the shipped ones.
        made: Makers of further policies, by name.
    """

    more: tuple[str, ...] = ()
    made: Mapping[str, Maker] = field(default_factory=dict)
    _ready: dict[str, Cast] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def names(self, *, video: bool = False) -> list[str]:
        """What can be chosen, the best first choice first.

        Args:
            video: For questions about a video, rather than about a picture.
        """
        own = {name: tools_of(name) for name in shipped_checkpoints()}
        fit = [n for n, tools in own.items() if any((t == VIDEO_TOOL) == video for t in tools)]
        # Who does nothing else comes first.
        return [*self.more, *sorted(fit, key=lambda n: len(own[n])), *self.made, SCRIPT]

    def tools(self, name: str) -> tuple[str, ...]:
        """Tools that a policy was trained with; nothing where only loading it would tell."""
        here = name in shipped_checkpoints() or (name in self.more and Path(name).is_dir())
        return tools_of(name) if here else ()

    async def get(self, name: str) -> Cast:
        """The policy of that name; the first time this takes as long as loading takes.

        Raises:
            UnknownName: It was not offered: nobody loads a folder by asking for it.
            CheckpointError: It cannot be loaded.
        """
        return await asyncio.to_thread(self.load, name)

    def load(self, name: str) -> Cast:
        """As `get`, in this thread."""
        known = dict.fromkeys([*self.names(), *self.names(video=True)])
        if name not in known:
            raise UnknownName("policy", name, list(known))
        with self._lock:
            if name not in self._ready:
                self._ready[name] = self._make(name)
            return self._ready[name]

    def _make(self, name: str) -> Cast:
        if name == SCRIPT:
            return Cast(SCRIPT, script_seat(), "scripted")
        maker = self.made.get(name)
        return load_cast(name) if maker is None else maker()


def load_cast(name: str) -> Cast:
    """A checkpoint behind the `hf` engine, in waves of whoever asks, with small caches."""
    from vtool.loading import load_policy

    policy = load_policy(name)
    from vtool.engines.hf import HFEngine

    assert isinstance(policy.engine, HFEngine)
    engine = HFEngine(
        policy.engine.vlm,
        synchronous=False,
        cache_bytes=_PREFIX_BYTES,
        vision_bytes=_VISION_BYTES,
    )
    policy.engine.close()
    where = next(iter(engine.vlm.model.parameters())).device
    seat = Seat("policy", policy.renderer, engine, Sampling(temperature=0.0))
    return Cast(name, seat, f"hf on {where}")
