"""Which attempt holds which tokens: paths through records that several attempts share.

A group's episodes are its attempts. Those of a tree are views of one record: each names its leaf,
and the `Fork` edges above it say from whom it parted and where. What attempts share is written
once, and learnt from once, in the context that wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vtool.programs.restart import GIVEN
from vtool.record import Context, Episode, Fold, Fork, Group, Spawn

from .group_advantage import Credit


@dataclass(frozen=True, slots=True)
class Stretch:
    """The own segments of a context that belong to a path: all before `end`."""

    context: Context
    end: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where an attempt comes from.

    Args:
        parent: Index in the group of the attempt that it went on from; -1 for the prompt.
        turns: Assistant turns that both share.
        tokens: Tokens that both share, the prompt's included.
    """

    parent: int = -1
    turns: int = 0
    tokens: int = 0


def path(episode: Episode) -> list[Stretch]:
    """The contexts of an attempt, its leaf first; children of its calls after their parent."""
    context, end = episode.final, len(episode.final.segments)
    found: list[Stretch] = []
    while True:
        if end > context.shared and context.seat != GIVEN:
            found.append(Stretch(context, end))
            found += _children(episode, context, end)
        edge = context.edge
        if edge is None or isinstance(edge, Spawn):
            return found
        context = episode.contexts[edge.parent]
        end = edge.at if isinstance(edge, Fork) else len(context.segments)


def _children(episode: Episode, context: Context, end: int) -> list[Stretch]:
    """Contexts that were spawned on this stretch, with what follows them."""
    turns = {s.turn for s in context.segments[context.shared : end]}
    numbers = {
        c.number
        for c in episode.contexts
        if isinstance(c.edge, Spawn) and c.edge.parent == context.number and c.edge.turn in turns
    }
    for c in episode.contexts:  # edges point back, so one pass is enough
        if isinstance(c.edge, Fold | Fork | Spawn) and c.edge.parent in numbers:
            numbers.add(c.number)
    found = (episode.contexts[n] for n in sorted(numbers))
    return [Stretch(c, len(c.segments)) for c in found]


def pointers(group: Group) -> list[Pointer]:
    """For each attempt the earlier one with which it shares most, and how much that is."""
    lines = [_line(e) for e in group.episodes]
    found: list[Pointer] = []
    for i, (episode, line) in enumerate(zip(group.episodes, lines, strict=True)):
        best = Pointer()
        for j in range(i):
            other = group.episodes[j]
            if other.contexts is not episode.contexts:
                continue
            shared = _common(line, lines[j])
            tokens = sum(len(s) for s in shared)
            if tokens > best.tokens or best.parent < 0:
                turns = sum(m.action is not None for s in shared for m in s.messages)
                best = Pointer(j, turns, tokens)
        found.append(best)
    return found


def _line(episode: Episode) -> tuple[object, ...]:
    return episode.final.segments if episode.contexts else ()


def _common(one: Sequence[object], other: Sequence[object]) -> list[object]:
    out = []
    for a, b in zip(one, other, strict=False):
        if a is not b:
            break
        out.append(a)
    return out


def cut_credits(episodes: Sequence[Episode], given: Sequence[Credit]) -> list[Credit]:
    """Credits of what attempts really ran through.

    Args:
        episodes: The attempts of a group.
        given: Credits of their contexts.

    Returns:
        The credits, in their order. A context whose end belongs to nobody (it was given up) comes
        without it; one that was handed in from the past does not come. Where nothing forks, the
        credits come back as they are.
    """
    if not any(isinstance(c.edge, Fork) for e in episodes for c in e.contexts):
        return list(given)
    ends: dict[tuple[int, int], int] = {}
    for episode in episodes:
        for stretch in path(episode):
            place = (id(episode.contexts), stretch.context.number)
            ends[place] = max(stretch.end, ends.get(place, 0))
    rows = [(c, ends.get((id(c.episode.contexts), c.context.number), 0)) for c in given]
    return [
        replace(
            credit,
            context=truncated(credit.context, end),
            segments=credit.segments[:end],
            tokens=credit.tokens[:end],
        )
        for credit, end in rows
        if end
    ]


def truncated(context: Context, end: int) -> Context:
    """A context without what follows its first `end` segments."""
    if end == len(context.segments):
        return context
    prefix = context.segments[: context.shared]
    short = Context(context.number, context.seat, context.store, context.edge, prefix)
    for segment in context.segments[context.shared : end]:
        short.append(segment)
    return short


def path_episode(episode: Episode) -> Episode:
    """An attempt at a tree on a record of its own: contexts along its path, numbered anew.

    What it shares with others is a context of its own, cut where they parted, so that the
    copy's tokens and log-probs are those of the attempt, whole.
    """
    if not any(isinstance(c.edge, Fork) for c in episode.contexts):
        return episode
    alone = Episode(
        task_id=episode.task_id,
        seed=episode.seed,
        store=episode.final.store,
        stop=episode.stop,
        answer=episode.answer,
        verdicts=dict(episode.verdicts),
        error=episode.error,
        seconds=episode.seconds,
        runtime=episode.runtime,
    )
    for number, (context, end) in enumerate(ancestors(episode)):
        edge = context.edge
        last = alone.contexts[-1] if alone.contexts else None
        if isinstance(edge, Fork):
            assert last is not None
            edge = Fork(last.number, len(last.segments))
        elif isinstance(edge, Fold):
            edge = Fold(number - 1, edge.reason)
        prefix = last.segments if isinstance(edge, Fork) and last is not None else ()
        made = Context(number, context.seat, context.store, edge, prefix)
        for segment in context.segments[context.shared : end]:
            made.append(segment)
        whole = end == len(context.segments)
        made.stop, made.answer = (context.stop, context.answer) if whole else (None, None)
        alone.contexts.append(made)
    alone.contexts[-1].stop = episode.stop
    return alone


def ancestors(episode: Episode) -> list[tuple[Context, int]]:
    """Contexts from the root to the leaf, each with where the path leaves it."""
    context, end = episode.final, len(episode.final.segments)
    found: list[tuple[Context, int]] = []
    while True:
        if end > context.shared or not isinstance(context.edge, Fork):
            found.append((context, end))
        edge = context.edge
        if edge is None or isinstance(edge, Spawn):
            return found[::-1]
        context = episode.contexts[edge.parent]
        end = edge.at if isinstance(edge, Fork) else len(context.segments)
