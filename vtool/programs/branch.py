"""Several continuations of one past: tree sampling, and "edit this and go on from turn k"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from vtool.environment import Environment
from vtool.message import Action, Author, Message, Role, Text
from vtool.programs.replay import replay, turns_of
from vtool.programs.restart import prefix_end
from vtool.programs.solo import Player, Watcher, guarded, play
from vtool.record import Context, Episode, Fork, StopReason
from vtool.scheduler import Barrier
from vtool.seat import Seat
from vtool.workspace import runtime_of


async def branch(
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    key: tuple[int, ...] = (0,),
    after: int = 1,
    width: int = 2,
    seat: str = "policy",
) -> Episode:
    """Play `after` turns, then go on `width` times from there, all on one record.

    Args:
        env: A fresh environment that can be forked.
        seats: Who plays, by name.
        key: Seeds all draws; each path draws its own.
        after: Turns that are shared.
        width: Paths after them, the first one included.
        seat: The seat that plays.

    Returns:
        The episode; `episode.leaves()` are its attempts. If the shared part already ends the
        episode there is one leaf.

    Raises:
        ForkRefused: The environment cannot be forked.
    """
    episode = Episode(task_id=env.task.id, seed=key[-1], store=env.store, runtime=runtime_of(env))
    trunk = Player(env, seats[seat], episode, key, {}, None)
    start = time.monotonic()
    await guarded(trunk, _first_turns(trunk, after))
    if episode.stop is StopReason.SUSPENDED:  # it has not ended: there is something to fork
        await _go_on(trunk, width)
    episode.seconds += time.monotonic() - start
    return episode


async def _first_turns(trunk: Player, after: int) -> None:
    await trunk.begin()
    for _ in range(after):
        if not await trunk.turn():
            return


async def _go_on(trunk: Player, width: int) -> None:
    env, episode, seat = trunk.env, trunk.episode, trunk.seat
    assert trunk.context is not None
    at = Fork(trunk.context.number, len(trunk.context.segments))
    envs = [await env.fork() for _ in range(width - 1)]
    paths = [trunk]
    for i, other in enumerate(envs):
        path = Player(other, seat, episode, (*trunk.key, i + 1), {}, None)
        # Opened before any goes on, so that context numbers are a function of the key alone.
        path.context = episode.open(seat.name, edge=at, store=other.store)
        paths.append(path)
    barrier = seat.engine if isinstance(seat.engine, Barrier) else None
    try:
        with barrier.participants(width - 1) if barrier else nullcontext() as more:
            ends = (_to_the_end(p, more if i else None) for i, p in enumerate(paths))
            await asyncio.gather(*ends)
    finally:
        for other in envs:
            await other.close()
    # Not the path that happened to finish last: the one that the record calls final.
    final = episode.final
    episode.stop, episode.answer = final.stop or StopReason.FAILED, final.answer


async def _to_the_end(path: Player, party: Any = None) -> None:
    """Play a path out; `party` is told, since nobody must wait for a path that has ended."""

    async def turns() -> None:
        while await path.turn():
            pass

    try:
        await guarded(path, turns())
    finally:
        if party is not None:
            party.leave()


async def rerun(
    episode: Episode,
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    turn: int,
    edit: Action | None = None,
    author: Author = Author.USER,
    key: tuple[int, ...] = (0,),
    seat: str = "policy",
    watch: Watcher | None = None,
) -> Episode:
    """Go on from a past turn of a recorded episode, perhaps with another action there.

    The environment is brought to where the episode stood by sending it the recorded actions;
    the new path is a `Fork` on the same record and runs the same `play`.

    Args:
        episode: A recorded episode; the path of its final context is replayed.
        env: A fresh environment of the same task and seed.
        seats: Who plays on.
        turn: Index of the assistant turn to do again, 0 for the first.
        edit: What to do in that turn instead; None lets the policy write it anew.
        author: Who made the edit.
        key: Seeds the new draws.
        seat: The seat that plays on.
        watch: Told after every change.

    Raises:
        ForkRefused: The episode has no such turn, or replaying gives another past.
    """
    parent = episode.final
    at = prefix_end(parent, turn)
    dialect = seats[seat].renderer.dialect
    await replay(turns_of(parent)[:turn], parent.store, env, dialect)
    edge = Fork(parent.number, at)
    if edit is None:
        return await play(env, seats, key=key, seat=seat, episode=episode, edge=edge, watch=watch)
    player = Player(env, seats[seat], episode, key, {}, watch)
    player.context = episode.open(seat, edge=edge, store=env.store)
    action = _write_edit(player.context, seats[seat], edit, author)
    await guarded(player, _answer_and_go_on(player, action))
    return episode


async def _answer_and_go_on(player: Player, action: Action) -> None:
    going = await player.answer(action)
    while going and await player.turn():
        pass


def _write_edit(context: Context, seat: Seat, edit: Action, author: Author) -> Action:
    pieces = seat.renderer.dialect.write(edit)
    edit = replace(edit, text="".join(getattr(p, "text", "") for p in pieces))
    message = Message(role=Role.ASSISTANT, parts=(Text(edit.text),), author=author, action=edit)
    for segment in seat.renderer.write_turn(context, message):
        context.append(segment)
    return edit
