"""From episodes to a `Layout`: whose tokens each attempt of a group stands for.

An attempt is a path: it reads its leaf's context, the prefixes that forks share, and what was
folded away. Children that were spawned on the path, and contexts of other seats, belong to the
attempt too, but are no turns of its path. Another branch of the same record does not. What was
handed in from a past (the seat `GIVEN`) is nobody's step: it is seen, as observations are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vtool.errors import VToolError
from vtool.message import Author
from vtool.programs.restart import GIVEN
from vtool.record import Context, Episode, Fold, Fork, Segment, Spawn

from .advantage import Floats
from .attempts import Layout, Seen

Place = tuple[int, int]
"""A segment: the context that wrote it, and its index among that context's segments."""


@dataclass(frozen=True, slots=True)
class Step:
    """Segments of one assistant turn that the same attempts share."""

    record: int
    """Which of the group's records."""
    context: int
    segments: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A layout, and the segments that its numbers are about.

    Args:
        layout: For the rules.
        steps: (S,) what each step is.
        records: One episode for each record: views of one tree share theirs.
        record: (N,) record of each attempt.
        contexts: (N,) contexts with tokens that belong to each attempt.
    """

    layout: Layout
    steps: tuple[Step, ...]
    records: tuple[Episode, ...]
    record: tuple[int, ...]
    contexts: tuple[tuple[int, ...], ...]


def owner(episode: Episode, number: int, index: int) -> Place:
    """Where a segment was written that a context reads at `index`."""
    context = episode.contexts[number]
    while index < context.shared:
        if not isinstance(context.edge, Fork):
            raise VToolError(f"context {context.number} shares segments, but is no fork")
        context = episode.contexts[context.edge.parent]
    return context.number, index


def path(episode: Episode, number: int | None = None) -> list[Place]:
    """Segments that lead to the end of a context (the final one), forks and folds followed back."""
    if number is None:
        number = episode.final.number
    context = root = episode.contexts[number]
    while isinstance(root.edge, Fork):
        root = episode.contexts[root.edge.parent]
    before = path(episode, root.edge.parent) if isinstance(root.edge, Fold) else []
    return before + [owner(episode, number, i) for i in range(len(context.segments))]


def beside(episode: Episode, places: Sequence[Place]) -> list[int]:
    """Contexts that belong to a path without being on it: spawned children, and other seats."""
    turns = {(c, episode.contexts[c].segments[i].turn) for c, i in places}
    on_path = {c for c, _ in places} | {episode.final.number}
    out: list[int] = []
    for context in episode.contexts:
        edge = context.edge
        if context.number in on_path or isinstance(edge, Fork):
            continue
        mine = (
            (edge.parent, edge.turn) in turns or edge.parent in out
            if isinstance(edge, Spawn)
            else edge is None or edge.parent in out
        )
        if mine:
            out.append(context.number)
    return out


def cuts(episode: Episode) -> dict[int, list[int]]:
    """For each context, before which segments others go on."""
    out: dict[int, list[int]] = {c.number: [] for c in episode.contexts}
    for context in episode.contexts:
        if isinstance(context.edge, Fork) and context.shared:
            number, last = owner(episode, context.number, context.shared - 1)
            out[number].append(last + 1)
    return out


def lay_out(episodes: Sequence[Episode]) -> Ground:
    """The ground of a group.

    Args:
        episodes: Attempts; those that are views of one tree (`Episode.leaves`) share its steps.
    """
    builder = _Builder()
    for episode in episodes:
        builder.add(episode)
    return builder.ground()


class _Builder:
    def __init__(self) -> None:
        self.records: list[Episode] = []
        self.record: list[int] = []
        self.contexts: list[tuple[int, ...]] = []
        self.cuts: list[dict[int, list[int]]] = []
        self.steps: dict[Step, int] = {}
        self.parent: list[int] = []
        self.seen: list[Seen] = []
        self.rows: list[tuple[int, int, int]] = []
        self.turns: list[int] = []
        self.logp: list[float] = []
        self.lengths: list[int] = []

    def add(self, episode: Episode) -> None:
        number = len(self.record)
        record = self._record(episode)
        self.record.append(record)
        if not episode.contexts:
            self._close(episode, [], [], -1)
            return
        places, others = path(episode), beside(episode, path(episode))
        before, last = -1, -1
        for step, seen in _steps(episode, record, places, self.cuts[record]):
            before = self._step(step, before, seen)
            first = episode.contexts[step.context]
            last = _position(episode, first, first.segments[step.segments[0]])
            self.rows.append((number, before, last))
        for other in others:
            context = episode.contexts[other]
            whole = [(other, i) for i in range(len(context.segments))]
            for step, seen in _steps(episode, record, whole, self.cuts[record]):
                self.rows.append((number, self._step(step, -1, seen), -1))
        self._close(episode, places, others, last)

    def _record(self, episode: Episode) -> int:
        for number, other in enumerate(self.records):
            if other.contexts is episode.contexts:
                return number
        self.records.append(episode)
        self.cuts.append(cuts(episode))
        return len(self.records) - 1

    def _step(self, step: Step, before: int, seen: Seen) -> int:
        if step not in self.steps:
            self.steps[step] = len(self.steps)
            self.parent.append(before)
            self.seen.append(seen)
        return self.steps[step]

    def _close(
        self, episode: Episode, places: Sequence[Place], others: Sequence[int], last: int
    ) -> None:
        own = {c for c, _ in places} | ({episode.final.number} if episode.contexts else set())
        all_of = sorted({*own, *others})
        rows = [(c, episode.contexts[c]) for c in all_of]
        self.contexts.append(tuple(c for c, x in rows if x.has_tokens and x.seat != GIVEN))
        actions = len(episode.actions()) if episode.contexts else 0
        self.turns.append(max(actions, last + 1))
        found = _logprobs(episode, places)
        self.logp.append(float(found.mean()) if len(found) else float("nan"))
        self.lengths.append(len(found))

    def ground(self) -> Ground:
        rows = np.array(self.rows, np.int64).reshape(-1, 3)
        layout = Layout(
            rows[:, 0],
            rows[:, 1],
            rows[:, 2],
            np.array(self.parent, np.int64),
            np.array(self.turns, np.int64),
            tuple(self.seen),
            np.array(self.logp, np.float64),
            np.array(self.lengths, np.int64),
        )
        return Ground(
            layout, tuple(self.steps), tuple(self.records), tuple(self.record), tuple(self.contexts)
        )


def _steps(
    episode: Episode, record: int, places: Sequence[Place], cuts: dict[int, list[int]]
) -> Iterator[tuple[Step, Seen]]:
    """Steps along some segments, and what each answers.

    What is injected between two completions of one turn does not cut the turn.
    """
    found: dict[tuple[int, int, int], list[int]] = {}
    answers: list[Seen] = []
    told: list[Place] = []
    for number, index in places:
        segment = episode.contexts[number].segments[index]
        if not _learnt(episode, number, index):
            told.append((number, index))
            continue
        key = (number, segment.turn, sum(at <= index for at in cuts[number]))
        if key not in found:
            answers.append(_seen(episode, told))
        found.setdefault(key, []).append(index)
        told = []
    for (number, _, _), indices in found.items():
        yield Step(record, number, tuple(indices)), answers.pop(0)


def _seen(episode: Episode, places: Sequence[Place]) -> Seen:
    words, pictures = [], []
    for number, index in places:
        context = episode.contexts[number]
        segment = context.segments[index]
        text = "".join(m.text for m in segment.messages).encode()
        words.append(text if segment.ids is None else segment.ids.tobytes())
        pictures += [context.store[p.handle].digest for p in segment.placements]
    return Seen(b"".join(words), tuple(pictures))


def _position(episode: Episode, context: Context, segment: Segment) -> int:
    """Assistant turn of the whole path, folds counted."""
    count = segment.turn
    while context.edge is not None:
        parent = episode.contexts[context.edge.parent]
        if isinstance(context.edge, Fold):
            count += parent.turn
        context = parent
    return count


def _learnt(episode: Episode, number: int, index: int) -> bool:
    """Whether the policy wrote a segment in this attempt, not in the past that it goes on from."""
    context = episode.contexts[number]
    return context.segments[index].author is Author.POLICY and context.seat != GIVEN


def handed_in(episode: Episode, number: int) -> int:
    """Leading segments of a context that were handed in from a past."""
    segments = range(len(episode.contexts[number].segments))
    owners = (owner(episode, number, i)[0] for i in segments)
    return sum(episode.contexts[c].seat == GIVEN for c in owners)


def _logprobs(episode: Episode, places: Sequence[Place]) -> Floats:
    """Behaviour log-probs of the policy's tokens on a path."""
    rows = [episode.contexts[c].segments[i] for c, i in places if _learnt(episode, c, i)]
    found = [s.logprobs for s in rows if s.logprobs is not None]
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)
