"""Bring an environment to where a recorded path stood, by sending it the recorded actions."""

from __future__ import annotations

from vtool.dialects.base import Dialect
from vtool.environment import Environment
from vtool.errors import ForkRefused
from vtool.message import Action, Author
from vtool.record import Context
from vtool.store import Store


def turns_of(context: Context) -> list[tuple[Action, Context]]:
    """Each assistant turn of a context, with the context as it was when it had been written.

    Turns of a history that a template retells were played elsewhere.
    """
    found = []
    for i, segment in enumerate(context.segments):
        if segment.author is Author.TEMPLATE:
            continue
        for message in segment.messages:
            if message.action is not None:
                then = Context(context.number, context.seat, context.store, context.edge)
                for earlier in context.segments[: i + 1]:
                    then.append(earlier)
                found.append((message.action, then))
    return found


async def replay(
    turns: list[tuple[Action, Context]], store: Store, env: Environment, dialect: Dialect
) -> None:
    """Send recorded actions to a fresh environment.

    Args:
        turns: Actions, each with the context in which it was written.
        store: What there was in the end; the environment must come to the same.
        env: Fresh, of the same task and seed.
        dialect: How the actions were written.

    Raises:
        ForkRefused: It came to another past.
    """
    await env.reset()
    for action, then in turns:
        reply = await env.reply(action, then, dialect)
        if reply.stop is not None:
            raise ForkRefused(f"replaying stopped early ({reply.stop}): this is another world")
    for entry in env.store:
        if entry.handle not in store or store[entry.handle].digest != entry.digest:
            raise ForkRefused(f"replaying made another {entry.handle} than the first time")
