"""Trees from a trace: attempts that were written line by line, back on the record they shared.

A run writes each attempt with the contexts of its own path, so that a line can be read alone.
What says that lines belong together is in their notes: the step, the record among the group's,
and the numbers that the contexts had there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vtool.message import Json
from vtool.record import Context, Episode, Fold, Fork, Group
from vtool.reward import Score
from vtool.trace import TraceRecord

from .rollouts import ancestors, path_episode, pointers

TREE = "tree"
"""Note of a line: ``[record, number of each context]``; absent where nothing forked."""


@dataclass(frozen=True, slots=True)
class Regrown:
    """A group as it was played."""

    task_id: str
    episodes: tuple[Episode, ...]
    scores: tuple[Score, ...]


def tree_notes(group: Group) -> list[dict[str, Json]]:
    """For each attempt, what its line must say for the tree to be grown again."""
    records: dict[int, int] = {}
    notes: list[dict[str, Json]] = []
    for episode, pointer in zip(group.episodes, pointers(group), strict=True):
        record = records.setdefault(id(episode.contexts), len(records))
        if path_episode(episode) is episode:
            notes.append({})
            continue
        numbers: list[Json] = [c.number for c, _ in ancestors(episode)]
        told: dict[str, Json] = {
            "from": pointer.parent,
            "shared_turns": pointer.turns,
            "shared_tokens": pointer.tokens,
        }
        notes.append({TREE: [record, *numbers], "parent": told})
    return notes


def regrow(records: Iterable[TraceRecord]) -> Iterator[Regrown]:
    """Groups of a trace, in order; lines without a score are left out.

    Args:
        records: Lines of one or several steps.
    """
    groups: dict[tuple[str, str], list[TraceRecord]] = {}
    for record in records:
        if record.score is not None:
            groups.setdefault((record.task_id, str(record.meta.get("step"))), []).append(record)
    for (task_id, _), lines in groups.items():
        rows = list(_attempts(lines))
        yield Regrown(task_id, tuple(e for e, _ in rows), tuple(s for _, s in rows))


def _attempts(lines: Sequence[TraceRecord]) -> Iterator[tuple[Episode, Score]]:
    trees: dict[int, list[TraceRecord]] = {}
    for line in lines:
        note = line.meta.get(TREE)
        if isinstance(note, list):
            trees.setdefault(int(str(note[0])), []).append(line)
    grown = {number: _tree(members) for number, members in trees.items()}
    for line in lines:
        assert line.score is not None
        note = line.meta.get(TREE)
        if not isinstance(note, list):
            yield line.episode, line.score
            continue
        record, places = grown[int(str(note[0]))]
        leaf = places[int(str(note[-1]))]
        alone = line.episode
        view = replace(record, leaf=leaf, stop=alone.stop, answer=alone.answer)
        yield view, line.score


def _tree(lines: Sequence[TraceRecord]) -> tuple[Episode, dict[int, int]]:
    """The record of some attempts, and where each context's old number is in it."""
    longest: dict[int, Context] = {}
    parents: dict[int, int | None] = {}
    for line in lines:
        numbers = _numbers(line.meta)
        for i, (number, context) in enumerate(zip(numbers, line.episode.contexts, strict=False)):
            if number not in longest or _more(context, longest[number]):
                longest[number] = context
            parents[number] = numbers[i - 1] if i else None
    places = {number: i for i, number in enumerate(sorted(longest))}
    first = lines[0].episode
    record = Episode(task_id=first.task_id, seed=first.seed, store=first.store)
    record.runtime = first.runtime
    for number, old in sorted(longest.items()):
        edge, parent = old.edge, parents[number]
        if parent is not None and isinstance(edge, Fork):
            edge = Fork(places[parent], edge.at)
        elif parent is not None and isinstance(edge, Fold):
            edge = Fold(places[parent], edge.reason)
        prefix = record.contexts[edge.parent].segments[: edge.at] if isinstance(edge, Fork) else ()
        made = Context(places[number], old.seat, old.store, edge, prefix)
        for segment in old.segments[old.shared :]:
            made.append(segment)
        made.stop, made.answer = old.stop, old.answer
        record.contexts.append(made)
    return record, places


def _more(one: Context, other: Context) -> bool:
    """Whether a context goes further, or as far and to an end."""
    a, b = len(one.segments), len(other.segments)
    return a > b or (a == b and one.stop is not None)


def _numbers(meta: Mapping[str, Json]) -> list[int]:
    note = meta[TREE]
    assert isinstance(note, list)
    return [int(str(n)) for n in note[1:]]
