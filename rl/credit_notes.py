"""Credit into the trace: what each attempt's tokens got, and what other weightings would give.

Other weightings are judged on the recorded marks of the same attempts and turned into
advantages by the same rule, so that the difference is the reward's alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vtool.codec import Codec
from vtool.credit_note import CreditNote, OtherWeighting, SegmentCredit
from vtool.message import Author
from vtool.record import Episode, Segment
from vtool.reward import Combine, Score, Unscored

from .advantage import Floats
from .collect import Collected
from .credit import Credit
from .group_advantage import settle
from .rollouts import path_episode

Laid = Mapping[tuple[int, int], float | Floats]
"""Credit by attempt (0 for all who share it) and segment, both by identity."""


def credit_notes(collected: Collected) -> list[list[CreditNote]]:
    """A note for every attempt of a step.

    Args:
        collected: A step as it was collected, with its judges.

    Returns:
        For each group, one note an attempt, for the contexts that `path_episode` gives.
    """
    judges = collected.judges
    assert judges is not None
    given = _laid(collected.credits)
    others = {name: _again(collected, combine) for name, combine in judges.others.items()}
    notes = []
    for number, group in enumerate(collected.groups):
        row = []
        for attempt, episode in enumerate(group.episodes):
            told = [
                _other(name, episode, scores[number][attempt], laid)
                for name, (scores, laid) in others.items()
            ]
            row.append(
                CreditNote(
                    group=number,
                    combine=judges.combine_name,
                    options=dict(judges.combine_options),
                    outcome=judges.outcome,
                    rule=judges.rule.words,
                    given=_given(episode, given, collected.codecs),
                    others=tuple(told),
                )
            )
        notes.append(row)
    return notes


def _again(collected: Collected, combine: Combine) -> tuple[list[list[Score]], Laid]:
    """Scores and credit of all groups under another combine."""
    judges = collected.judges
    assert judges is not None
    scores = [
        [combine(s.parts) if s.parts else s for s in of_group] for of_group in collected.scores
    ]
    rows = zip(collected.groups, scores, strict=True)
    found = [c for g, s in rows for c in judges.credits(g.episodes, s, collected.codecs)]
    return scores, _laid(settle(found, judges.rule))


def _laid(credits: Sequence[Credit]) -> dict[tuple[int, int], float | Floats]:
    """Credit by segment; that of one attempt alone where shared steps are learnt by each."""
    out: dict[tuple[int, int], float | Floats] = {}
    for credit in credits:
        first = 0 if credit.whole else credit.context.shared
        owner = id(credit.episode) if credit.whole else 0
        rows = zip(credit.context.segments, credit.laid, strict=True)
        out |= {(owner, id(segment)): value for segment, value in list(rows)[first:]}
    return out


def _own(episode: Episode, laid: Laid) -> Iterator[list[tuple[str, Segment, Any]]]:
    """For each context of the recorded episode its segments, with seat and credit or None."""
    for context in path_episode(episode).contexts:
        rows = []
        for segment in context.segments[context.shared :]:
            value = laid.get((id(episode), id(segment)), laid.get((0, id(segment))))
            learnt = segment.author is Author.POLICY
            rows.append((context.seat, segment, value if learnt else None))
        yield rows


def _given(
    episode: Episode, laid: Laid, codecs: Mapping[str, Codec]
) -> tuple[tuple[SegmentCredit | None, ...], ...]:
    return tuple(
        tuple(None if v is None else _told(v, s, codecs.get(seat)) for seat, s, v in rows)
        for rows in _own(episode, laid)
    )


def _told(value: float | Floats, segment: Segment, codec: Codec | None) -> SegmentCredit:
    """One number where all tokens got the same: a trace is no heavier than it must be."""
    each = np.atleast_1d(np.asarray(value, dtype=float))
    if np.ndim(value) == 0 or not each.size or np.ptp(each) == 0:
        return SegmentCredit(advantage=_brief(each[0]) if each.size else 0.0)
    pieces: tuple[str, ...] = ()
    if codec is not None and segment.ids is not None:
        raw = codec.pieces([int(i) for i in segment.ids])
        pieces = tuple(p.decode("utf-8", errors="backslashreplace") for p in raw)
    return SegmentCredit(advantage=tuple(_brief(v) for v in each), pieces=pieces)


def _brief(value: float) -> float:
    """Six figures: enough to read, a third of the bytes."""
    return float(f"{value:.6g}")


def _other(name: str, episode: Episode, score: Score, laid: Laid) -> OtherWeighting:
    means = tuple(
        tuple(None if v is None else _brief(float(np.mean(v))) for _, _, v in rows)
        for rows in _own(episode, laid)
    )
    total = None if isinstance(score.total, Unscored) else _brief(score.total)
    return OtherWeighting(name=name, total=total, advantages=means)
