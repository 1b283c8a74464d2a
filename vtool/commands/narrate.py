"""Tells an episode while it is played: thought, call, picture, answer."""

from __future__ import annotations

import json
from typing import Any

from vtool.commands.output import console
from vtool.geometry import Box
from vtool.message import Message, Outcome, Role
from vtool.record import Context, Episode


class Narrator:
    """Watches a play and prints what is new.

    Args:
        quiet: Print nothing; `steps` still answers afterwards.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._told: set[int] = set()
        self._episode: Episode | None = None

    def watch(self, episode: Episode, context: Context) -> None:
        """Print the messages that were added since."""
        self._episode = episode
        for message in context.messages():
            if id(message) not in self._told:
                self._told.add(id(message))
                for line in lines(message, context):
                    self._say(line)

    def steps(self) -> dict[str, Any]:
        """The whole episode as plain values."""
        episode = self._episode
        if episode is None:
            return {"answer": None, "stop": None, "steps": []}
        messages = episode.path_messages()
        steps = [_plain(m) for m in messages if m.role in (Role.ASSISTANT, Role.TOOL)]
        return {"answer": episode.answer, "stop": str(episode.stop), "steps": steps}

    def _say(self, line: str) -> None:
        if not self._quiet:
            # Model text is never markup to the terminal.
            console.print(line, markup=False, soft_wrap=True)


def lines(message: Message, context: Context) -> list[str]:
    """A message as lines for a terminal."""
    if message.role is Role.ASSISTANT and message.action is not None:
        action = message.action
        said = [f"  thought  {action.thought.strip()}"] if action.thought.strip() else []
        said += [f"  call     {c.name}({_arguments(c.arguments)})" for c in action.calls]
        said += [f"  fault    {f.code}: {f.message}" for f in action.faults]
        if action.answer is not None:
            return [*said, f"  answer   {action.answer}"]
        return said or [f"  said     {action.text.strip()}"]
    if message.role is Role.TOOL:
        return [line for o in message.outcomes for line in _outcome(o, context)]
    if message.role is Role.USER:
        seen = [f"  {s.handle}  {_size(context, s.handle)}" for s in message.shows]
        return [f"question   {message.text.strip()}", *seen]
    return []


def _outcome(outcome: Outcome, context: Context) -> list[str]:
    if outcome.fault is not None:
        return [f"  refused  {outcome.fault.code}: {outcome.fault.message}"]
    return [f"  {h}  {_size(context, h)}{_from(context, h)}" for h in outcome.handles]


def _from(context: Context, handle: str) -> str:
    parent = context.store[handle].origin.parent
    return f", cut from {parent}" if parent else ""


def _size(context: Context, handle: str) -> str:
    size = context.store.size(handle)
    shown = context.shown(handle)
    told = f"{size[0]}x{size[1]}" if size else ""
    return told + (f", seen at {shown[0]}x{shown[1]}" if shown and shown != size else "")


def _arguments(arguments: Any) -> str:
    return ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items())


def _plain(message: Message) -> dict[str, Any]:
    if message.action is not None:
        a = message.action
        return {
            "role": "assistant",
            "thought": a.thought,
            "calls": [{"name": c.name, "arguments": dict(c.arguments)} for c in a.calls],
            "answer": a.answer,
            "faults": [str(f.code) for f in a.faults],
        }
    return {"role": "tool", "results": [_result(o) for o in message.outcomes]}


def _result(outcome: Outcome) -> dict[str, Any]:
    regions = outcome.bound.regions if outcome.bound else {}
    boxes = [r.shape for rs in regions.values() for r in rs if isinstance(r.shape, Box)]
    return {
        "pictures": list(outcome.handles),
        "boxes": [[b.x1, b.y1, b.x2, b.y2] for b in boxes],
        "fault": str(outcome.fault.code) if outcome.fault else None,
    }
