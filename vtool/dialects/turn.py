"""From the blocks of a turn to an action: the rules that all tag dialects share.

A turn that holds both a call and an answer, or two different answers, says two things at once:
neither is done, the fault is `ambiguous`. Blocks inside a thought are not acted on.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vtool.dialects.scanner import Block, Scan, Scanner
from vtool.errors import FaultCode, ModelFault
from vtool.message import Action, Fault, Json, ToolCall

ReadCall = Callable[[str], tuple[str, Mapping[str, Json]]]
"""Body of a call block -> tool name and arguments; raises `ModelFault`."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Tag names of a dialect."""

    call: str
    answer: str | None = "answer"
    """None: words outside all blocks are the answer, where there is no call."""
    think: str = "think"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that exist."""
        return (self.call, self.think, *([self.answer] if self.answer else []))

    @property
    def marks(self) -> tuple[str, ...]:
        """Opening and closing tags as written."""
        return tuple(m for n in self.names for m in (f"<{n}>", f"</{n}>"))


@dataclass(slots=True)
class _Found:
    calls: list[ToolCall] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    ignored: int = 0


def read_turn(scan: Scan, tags: Tags, read_call: ReadCall, *, finished: bool) -> Action:
    """Read a scanned turn. Total: faults are data.

    Args:
        scan: The blocks of the turn.
        tags: What they mean.
        read_call: Reads the body of a call.
        finished: False where the length limit cut the turn off.
    """
    found = _Found()
    for block in scan.blocks:
        _read_block(block, tags, read_call, finished, found)
    words = scan.outside.strip()
    thought = "\n".join(t for t in (*found.thoughts, words) if t)
    if tags.answer is None and words and not _acted(found):
        found.answers.append(words)
        thought = "\n".join(found.thoughts)
    if not finished and not _acted(found):
        found.faults.append(_fault(cut_off()))
    return _action(scan.text, thought, found)


def check_closed(block: Block, finished: bool) -> None:
    """A block must be closed.

    Raises:
        ModelFault: `truncated` at the length limit, else `unclosed_call`.
    """
    if block.closed:
        return
    if not finished:
        raise cut_off()
    raise ModelFault(
        FaultCode.UNCLOSED_CALL,
        f"<{block.tag}> was opened and never closed",
        hint=f"end it with </{block.tag}>",
    )


def check_clear(calls: int, answers: int) -> None:
    """A turn does one thing.

    Args:
        calls: Calls in it, readable or not.
        answers: Different answers in it.

    Raises:
        ModelFault: `ambiguous`.
    """
    if calls and answers:
        raise ModelFault(
            FaultCode.AMBIGUOUS,
            "the turn both calls a tool and answers; nothing was done",
            hint="call first, answer in a later turn",
        )
    if answers > 1:
        raise ModelFault(
            FaultCode.AMBIGUOUS,
            f"the turn holds {answers} different answers",
            hint="give one answer",
        )


def thinking(block: Block, tags: Tags) -> bool:
    """Whether what stands in a block is thought, not deed."""
    return block.tag == tags.think


def cut_off() -> ModelFault:
    """The fault of a turn that the length limit ended."""
    return ModelFault(
        FaultCode.TRUNCATED,
        "the turn reached its length limit before a call or an answer was complete",
        hint="think shorter",
    )


class TurnStream:
    """Reads a turn while it is written; ends with what batch reading gives.

    Args:
        tags: Tag names of the dialect.
        read_call: Reads the body of a call.
    """

    def __init__(self, tags: Tags, read_call: ReadCall) -> None:
        self._tags, self._read = tags, read_call
        self._scanner = Scanner(tags.names)
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, chunk: str | bytes) -> list[ToolCall]:
        """Read on, characters or UTF-8 bytes; answers the calls that can be read by now."""
        text = self._bytes.decode(chunk) if isinstance(chunk, bytes) else chunk
        found = _Found()
        for block in self._scanner.feed(text):
            _read_block(block, self._tags, self._read, True, found)
        return found.calls

    def finish(self, *, finished: bool = True) -> Action:
        """The whole turn."""
        self._scanner.feed(self._bytes.decode(b"", final=True))
        return read_turn(self._scanner.close(), self._tags, self._read, finished=finished)


def _read_block(
    block: Block, tags: Tags, read_call: ReadCall, finished: bool, found: _Found
) -> None:
    try:
        if thinking(block, tags):
            found.thoughts.append(block.body.strip())
            found.ignored += block.body.count(f"<{tags.call}>")
            check_closed(block, finished)
            return
        check_closed(block, finished)
        if block.tag == tags.answer:
            found.answers.append(block.body.strip())
            return
        name, arguments = read_call(block.body)
        found.calls.append(ToolCall(name, arguments, (block.start, block.end)))
    except ModelFault as fault:
        found.faults.append(_fault(fault))


def _action(text: str, thought: str, found: _Found) -> Action:
    answers = list(dict.fromkeys(found.answers))
    calls, faults = tuple(found.calls), tuple(found.faults)
    try:
        check_clear(len(calls) + len(faults), len(answers))
    except ModelFault as fault:
        return Action(text, thought, (), None, (*faults, _fault(fault)), found.ignored)
    return Action(text, thought, calls, answers[0] if answers else None, faults, found.ignored)


def _acted(found: _Found) -> bool:
    return bool(found.calls or found.faults or found.answers)


def _fault(fault: ModelFault) -> Fault:
    return Fault(fault.code, fault.message, fault.hint, fault.field)
