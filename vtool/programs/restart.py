"""Begin in the middle: a new attempt that goes on from a past that is on record.

Source: reset from a prefix as in SkillMimic-V2 (trajectories restarted from stored states), in
the form that tokens allow: the prefix of a stored attempt, its environment replayed.
"""

from __future__ import annotations

from collections.abc import Mapping

from vtool.environment import Environment
from vtool.errors import ForkRefused
from vtool.message import Author
from vtool.programs.replay import replay, turns_of
from vtool.programs.solo import play
from vtool.record import Context, Episode, Fold, Fork
from vtool.seat import Seat
from vtool.workspace import check_runtime, runtime_of

GIVEN = "given"
"""Seat of a context that was handed in from another record: nobody learns from it."""


def prefix_end(context: Context, turn: int) -> int:
    """Segments of a context before its assistant turn number `turn`.

    Raises:
        ForkRefused: It has no such turn.
    """
    for i, segment in enumerate(context.segments):
        if segment.turn == turn and segment.author in (Author.POLICY, Author.TEACHER):
            return i
    raise ForkRefused(f"the episode has no turn {turn}; it has {context.turn} turns, from 0")


async def restart(
    past: Episode,
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    turn: int,
    key: tuple[int, ...] = (0,),
    seat: str = "policy",
) -> Episode:
    """Play a new attempt that begins with the first turns of a recorded one.

    Args:
        past: A recorded attempt, perhaps one without tokens or of other weights.
        env: A fresh environment of the same task and seed; it is brought to that point.
        seats: Who plays.
        turn: The first turn that is played anew.
        key: Seeds the draws.
        seat: The seat that plays.

    Returns:
        The episode. Its first context is the past, with the log-probs that it had, owned by the
        seat `GIVEN`; the attempt is a `Fork` of it.

    Raises:
        ForkRefused: There is no such turn, or replaying gives another past.
    """
    check_runtime(past.runtime, runtime_of(env))
    source, renderer = past.final, seats[seat].renderer
    if any(isinstance(c.edge, Fold) for c in past.contexts):
        raise ForkRefused("an episode whose history was folded cannot be gone on with from a turn")
    await replay(turns_of(source)[:turn], source.store, env, renderer.dialect)
    episode = Episode(task_id=env.task.id, seed=key[-1], store=env.store, runtime=runtime_of(env))
    given = episode.open(GIVEN, store=env.store)
    if source.has_tokens:
        segments = source.segments
    else:
        segments = renderer.encode(source.messages(), env.specs, env.store)
        source = _shell(source, segments)
    for segment in segments[: prefix_end(source, turn)]:
        given.append(segment)
    edge = Fork(given.number, len(given.segments))
    return await play(env, seats, key=key, seat=seat, episode=episode, edge=edge)


def _shell(context: Context, segments: object) -> Context:
    made = Context(context.number, context.seat, context.store)
    for segment in segments:  # type: ignore[attr-defined]
        made.append(segment)
    return made
