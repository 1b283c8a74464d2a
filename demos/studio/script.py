"""A policy without weights: it looks at the middle and says that it is a script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from vtool.dialects.base import Dialect
from vtool.dialects.hermes import Hermes
from vtool.engines.base import Completion, Prompt
from vtool.engines.scripted import ScriptedChat
from vtool.errors import RecordError
from vtool.message import Message, Role
from vtool.record import Context, Sampling, Segment
from vtool.render import Next
from vtool.seat import Seat
from vtool.store import Store
from vtool.toolspec import ToolSpec

WORDS = "I am a script: I look at the middle and cannot read. Choose a policy to have it answered."


@dataclass(frozen=True, slots=True)
class WordsOnly:
    """A `Renderer` for engines that write words: turns are kept as they are, without tokens."""

    dialect: Dialect = field(default_factory=Hermes)
    name: str = "words"
    stop_ids: tuple[int, ...] = ()
    forbidden_ids: tuple[int, ...] = ()
    refusal_room: int = 0

    def begin(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """The opening, as words."""
        return self.encode(messages, specs, store)

    def next(self, context: Context, completion: Completion, sampling: Sampling) -> Next:
        """Nothing here has ids.

        Raises:
            RecordError: Always.
        """
        raise RecordError("a seat that writes words has no tokens to read")

    def extend(
        self, context: Context, replies: Sequence[Message], *, room: int | None = None
    ) -> tuple[Segment, ...]:
        """What the environment says, as words."""
        return tuple(
            Segment(author=m.author, turn=max(0, context.turn - 1), messages=(m,)) for m in replies
        )

    def write_turn(self, context: Context, message: Message) -> tuple[Segment, ...]:
        """A turn by somebody else, as words."""
        return (Segment(author=message.author, turn=context.turn, messages=(message,)),)

    def prompt(self, context: Context) -> Prompt:
        """Nothing here has ids.

        Raises:
            RecordError: Always.
        """
        raise RecordError("a seat that writes words has no prompt of tokens")

    def encode(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """Each message as a segment."""
        turn, out = 0, []
        for message in messages:
            out.append(Segment(author=message.author, turn=turn, messages=(message,)))
            turn += message.role is Role.ASSISTANT
        return tuple(out)


def script_seat(seconds: float = 0.0) -> Seat:
    """The scripted policy.

    Args:
        seconds: How long it takes for a turn.
    """
    return words_seat(_look_at_the_middle, seconds)


def words_seat(script: object, seconds: float = 0.0) -> Seat:
    """A seat that says what a script says.

    Args:
        script: As `ScriptedChat` takes it.
        seconds: How long it takes for a turn.
    """
    return Seat("policy", WordsOnly(), ScriptedChat(script, seconds))  # type: ignore[arg-type]


def _look_at_the_middle(messages: Sequence[Message]) -> str:
    turn = sum(m.role is Role.ASSISTANT for m in messages)
    if turn or not any(m.shows for m in messages):
        return f"<answer>{WORDS}</answer>"
    call = json.dumps({"name": "zoom", "arguments": {"image": 1, "box": [300, 300, 700, 700]}})
    return f"First a closer look at the middle.\n<tool_call>\n{call}\n</tool_call>"
