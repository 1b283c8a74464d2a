"""Attempts that are played in parts: so many tokens now, the rest later, perhaps by newer weights.

What is cut keeps its tokens, their log-probs and their weight version; nothing is drawn again.
The environment is not kept: when the attempt goes on, a fresh one is brought to where it stood,
so that going on after a crash is the same as going on without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from vtool.environment import Environment
from vtool.programs.cut import Quota, draws_so_far
from vtool.programs.replay import replay, turns_of
from vtool.programs.solo import Player, guarded
from vtool.record import Context, Episode, Fold, StopReason
from vtool.seat import Seat
from vtool.workspace import runtime_of


async def play_part(
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    key: tuple[int, ...],
    tokens: int | None,
    episode: Episode | None = None,
    seat: str = "policy",
) -> Episode:
    """Begin an attempt, or go on with one, for so many tokens.

    Args:
        env: A fresh environment of the attempt's task and seed.
        seats: Who plays, by name.
        key: The attempt's own; the same in every part.
        tokens: Tokens that may be drawn now; None plays to the end.
        episode: What there is of the attempt; None to begin.
        seat: The seat that plays.

    Returns:
        The episode; `StopReason.SUSPENDED` means that it is to be gone on with. With equal
        weights the parts have the tokens of the attempt played at once.
    """
    going_on = episode is not None
    episode = episode or Episode(
        task_id=env.task.id, seed=key[-1], store=env.store, runtime=runtime_of(env)
    )
    player = Player(env, seats[seat], episode, key, {}, None)
    player.quota = None if tokens is None else Quota(tokens)
    began = time.monotonic()
    await guarded(player, _go_on(player) if going_on else player.run())
    episode.seconds += time.monotonic() - began
    return episode


async def _go_on(player: Player) -> None:
    episode = player.episode
    chain = line(episode)
    player.context, player.draws = chain[-1], draws_so_far(chain)
    turns = [turn for context in chain for turn in turns_of(context)]
    env = player.env
    await replay(turns, chain[-1].store, env, player.seat.renderer.dialect)
    # The replayed store holds the same entries by digest: from here on it is the episode's.
    episode.store, episode.stop = env.store, StopReason.SUSPENDED
    for context in chain:
        context.store = env.store
    while await player.turn():
        pass


def line(episode: Episode) -> list[Context]:
    """Contexts of an attempt that nothing forks from, the first one first."""
    chain = [episode.final]
    while isinstance(chain[0].edge, Fold):
        chain.insert(0, episode.contexts[chain[0].edge.parent])
    return chain
