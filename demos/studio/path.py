"""One path through a record, from its first word to its last: what a person follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vtool.geometry import Box, Region, Span, Unmappable
from vtool.message import Message, Outcome
from vtool.record import Context, Episode, Fork, Spawn, StopReason
from vtool.trace import TraceRecord

from ..steps import EpisodeView, Step, view_record


@dataclass(frozen=True, slots=True)
class Spot:
    """A numbered box on a picture, and the call that it belongs to."""

    number: int
    handle: str
    box: Box


@dataclass(frozen=True, slots=True)
class Window:
    """A numbered stretch of a video, and the call that looked at it."""

    number: int
    span: Span
    handles: tuple[str, ...]
    """What came back."""


@dataclass(frozen=True, slots=True)
class PathView:
    """A path as it is shown."""

    episode: Episode
    context: Context
    view: EpisodeView
    steps: tuple[Step, ...]
    seconds: tuple[float | None, ...]
    """Of each step, where it is known."""
    edited: frozenset[int]
    """Steps that a person wrote."""
    spots: tuple[Spot, ...]
    windows: tuple[Window, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Pictures that nothing was cut from."""
        store = self.context.store
        return tuple(e.handle for e in store.images() if e.origin.parent is None)


def ends(episode: Episode) -> list[int]:
    """Contexts in which a path ends (or goes on at this moment), in order."""
    parents = {c.edge.parent for c in episode.contexts if c.edge and not isinstance(c.edge, Fork)}
    last = len(episode.contexts) - 1
    return [
        c.number
        for c in episode.contexts
        if not isinstance(c.edge, Spawn)
        and c.number not in parents
        and (c.stop is not None or c.number == last)
    ]


def flat(episode: Episode, leaf: int) -> Episode:
    """A path as an episode of one context that shares nothing."""
    context = episode.contexts[leaf]
    alone = Episode(
        task_id=episode.task_id,
        seed=episode.seed,
        store=context.store,
        stop=context.stop or StopReason.SUSPENDED,
        answer=context.answer,
        reading=context.reading,
        error=episode.error,
        seconds=episode.seconds,
        runtime=episode.runtime,
    )
    copy = alone.open(context.seat, store=context.store)
    for segment in context.segments:
        copy.append(segment)
    copy.stop, copy.answer, copy.reading = context.stop, context.answer, context.reading
    return alone


def view_path(
    episode: Episode,
    leaf: int,
    seconds: Mapping[tuple[int, int], float] | None = None,
    *,
    record: TraceRecord | None = None,
) -> PathView:
    """What there is to see of a path.

    Args:
        episode: The record.
        leaf: The context in which the path ends.
        seconds: How long each segment took, by number of context and segment.
        record: The line of a trace that it comes from, with score and notes.
    """
    alone = flat(episode, leaf)
    context = alone.contexts[0]
    score, meta = (record.score, record.meta) if record else (None, {})
    view = view_record(TraceRecord(alone, score, meta))
    steps = tuple(s for strand in view.strands for s in strand.steps)
    places = [i for i, s in enumerate(context.segments) for _ in s.messages]
    times = [_seconds(episode, leaf, i, seconds or {}) for i in places]
    edited = {k for k, i in enumerate(places) if str(context.segments[i].author) == "teacher"}
    return PathView(
        alone,
        context,
        view,
        steps,
        tuple(times),
        frozenset(edited),
        tuple(_spots(context)),
        tuple(_windows(context)),
    )


def _seconds(
    episode: Episode, leaf: int, segment: int, known: Mapping[tuple[int, int], float]
) -> float | None:
    """Seconds of a segment, looked for where it was written first."""
    context = episode.contexts[leaf]
    while isinstance(context.edge, Fork) and segment < context.shared:
        context = episode.contexts[context.edge.parent]
    return known.get((context.number, segment))


def _looks(context: Context) -> Iterator[tuple[int, Outcome]]:
    """Each call's number, and what became of it."""
    messages = context.messages()
    number = 0
    for at, message in enumerate(messages):
        if message.action is not None:
            for offset, outcome in enumerate(_answers(messages[at + 1 :])):
                yield number + offset + 1, outcome
            number += len(message.action.calls)


def _spots(context: Context) -> Iterator[Spot]:
    """Each box that a call looked at: where it was meant, and on the source where it can be."""
    for number, outcome in _looks(context):
        for region in _regions(outcome):
            for place in dict.fromkeys((region, _source(context, region))):
                if isinstance(place.shape, Box):
                    yield Spot(number, place.media, place.shape)


def _windows(context: Context) -> Iterator[Window]:
    """Each stretch of time that a call looked at."""
    for number, outcome in _looks(context):
        for region in _regions(outcome):
            if isinstance(region.shape, Span):
                yield Window(number, region.shape, outcome.handles)


def _answers(later: Sequence[Message]) -> list[Outcome]:
    """What became of a turn's calls."""
    found: list[Outcome] = []
    for message in later:
        if message.action is not None:
            break
        found += [o for o in message.outcomes if o.call is not None]
    return found


def _regions(outcome: Outcome) -> list[Region]:
    asked = outcome.bound.regions.values() if outcome.bound else ()
    return list(outcome.effective) or [r for rs in asked for r in rs]


def _source(context: Context, region: Region) -> Region:
    found = context.store.to_source(region)
    return region if isinstance(found, Unmappable) else found
