"""Scripted policies: generators that yield calls, receive what came back, and return an answer.

    def best(look):
        seen = yield Use("zoom", image=1, box=[100, 100, 300, 300])
        return read_digit(seen.pictures[0])

They play through the same programs, environment and toolbox as a model, and see pictures at the
size at which the tiny policies are shown them, so that what they cannot see no tiny policy sees.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import joined
from vtool.media import Clip, Image
from vtool.message import Action, Fault, Found, Json, Message, Role, ToolCall
from vtool.record import Sampling
from vtool.store import Store
from vtool.toolspec import ToolSpec

from .drawing import Pixels

VIEW = 64
"""Side in pixels at which a square picture is shown."""
STEP = 16
"""Sides are shown in whole steps of this many pixels."""


@dataclass(frozen=True, slots=True)
class Use:
    """One call; arguments as a model writes them in the Hermes form."""

    name: str
    arguments: Mapping[str, Json]
    thought: str
    """Words before the call."""

    def __init__(self, name: str, /, _thought: str = "", **arguments: Json) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "thought", _thought)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer with words before it; a program may return it in place of the bare answer."""

    answer: str
    thought: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a policy has before its first turn."""

    words: str
    pictures: tuple[Pixels, ...]
    """As shown, (H, W, 3)."""
    clips: tuple[Clip, ...]
    tools: tuple[str, ...]
    rng: np.random.Generator
    specs: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What came back from a call."""

    words: str
    """All words, findings included, as a model reads them."""
    pictures: tuple[Pixels, ...] = ()
    clips: tuple[Clip, ...] = ()
    found: tuple[Found, ...] = ()
    handles: tuple[str, ...] = ()
    """New things by name, such as `depth_1`."""
    fault: Fault | None = None


Program: TypeAlias = Callable[[Look], Generator[Use, Seen, str | Said]]


@dataclass(slots=True, eq=False)
class ProgramEngine:
    """A `ChatEngine` that plays one episode of a program.

    Args:
        program: What to play.
        seed: Of the program's draws.
    """

    program: Program
    seed: int = 0
    dialect: Hermes = field(default_factory=Hermes)
    _run: Generator[Use, Seen, str | Said] | None = None

    async def chat(
        self,
        messages: Sequence[Message],
        store: Store,
        specs: Sequence[ToolSpec],
        sampling: Sampling,
    ) -> str:
        """Write the next turn."""
        try:
            if self._run is None:
                self._run = self.program(self._look(messages[-1], store, specs))
                use = next(self._run)
            else:
                use = self._run.send(self._seen(messages[-1], store))
        except StopIteration as end:
            said = end.value if isinstance(end.value, Said) else Said(str(end.value))
            return self._write(Action(text="", thought=said.thought, answer=said.answer))
        call = ToolCall(use.name, dict(use.arguments))
        return self._write(Action(text="", thought=use.thought, calls=(call,)))

    def _write(self, action: Action) -> str:
        return joined(self.dialect.write(action))

    def _look(self, message: Message, store: Store, specs: Sequence[ToolSpec]) -> Look:
        pictures, clips = _media(message, store)
        rng = np.random.default_rng([self.seed, 7])
        names = tuple(s.name for s in specs)
        return Look(message.text, pictures, clips, names, rng, tuple(specs))

    def _seen(self, message: Message, store: Store) -> Seen:
        assert message.role is Role.TOOL
        pictures, clips = _media(message, store)
        words = joined(self.dialect.observe([message], store))
        found = tuple(f for o in message.outcomes for f in o.found)
        handles = tuple(h for o in message.outcomes for h in o.handles)
        fault = next((o.fault for o in message.outcomes if o.fault), None)
        return Seen(words, pictures, clips, found, handles, fault)


def _media(message: Message, store: Store) -> tuple[tuple[Pixels, ...], tuple[Clip, ...]]:
    values: list[Any] = [store[s.handle].value for s in message.shows]
    pictures = tuple(as_shown(v) for v in values if isinstance(v, Image))
    return pictures, tuple(v for v in values if isinstance(v, Clip))


def as_shown(image: Image) -> Pixels:
    """A picture at the size at which the tiny policies see it."""
    width, height = image.size
    scale = VIEW / (width * height) ** 0.5
    sides = [max(STEP, round(side * scale / STEP) * STEP) for side in (width, height)]
    return image.resize((sides[0], sides[1])).pixels
