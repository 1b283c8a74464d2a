"""A group of attempts as arrays: what every credit rule reads, flat, branched or tree alike.

Three units. An *attempt* is one scored path of an episode, from the prompt to its end; a leaf of
a tree is one (`Episode.leaves`). A *step* is one assistant turn of the policy, as far as the
same attempts share it; it knows the step before it. A *visit* is one attempt at one step: a step
that three attempts share is visited three times. Rules answer one number a visit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.errors import VToolError
from vtool.reward import Marks, Score, Unscored

from .advantage import AdvantageError, Bools, Floats

Ints = NDArray[np.int64]

TOTAL, TURNS, SUM = "total", "turns", "sum"
"""What a rule may be about, beside the name of a reward part."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What stood before a step: the observation that it answers."""

    words: bytes
    """Token ids (int32) or, where there are none, text."""
    pictures: tuple[str, ...] = ()
    """Digests of what was shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Who went where. Knows nothing of scores.

    Args:
        attempt: (V,) attempt of each visit; the visits of an attempt stand in path order.
        step: (V,) step of each visit.
        position: (V,) assistant turn along the path, from 0; -1 for steps of children and of
            other seats, which are no turns of the path.
        parent: (S,) step before each step, -1 for first ones.
        turns: (N,) assistant turns of each attempt's path, edited ones included.
        seen: (S,) what each step answers; empty where nobody asks for it.
        logp: (N,) mean behaviour log-prob of each attempt's policy tokens; NaN where it has none.
        lengths: (N,) policy tokens of each attempt.
    """

    attempt: Ints
    step: Ints
    position: Ints
    parent: Ints
    turns: Ints
    seen: tuple[Seen, ...] = ()
    logp: Floats | None = None
    lengths: Ints | None = None

    @classmethod
    def flat(cls, turns: Sequence[int]) -> Layout:
        """Attempts of so many turns that share nothing."""
        total = int(sum(turns))
        attempt = np.repeat(np.arange(len(turns)), turns)
        position = np.array([t for n in turns for t in range(n)], np.int64)
        before = np.where(position > 0, np.arange(total) - 1, -1)
        return cls(attempt, np.arange(total), position, before, np.asarray(turns, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Attempts:
    """A layout with one reward: all that a credit rule is given.

    Args:
        layout: Who went where.
        returns: (N,) of each attempt; NaN where it may not be believed.
        final: (N,) what of it is given for the whole attempt, at its last turn.
        by_turn: (V,) what of it is given for the turn of each visit.
    """

    layout: Layout
    returns: Floats
    final: Floats
    by_turn: Floats

    @classmethod
    def of(
        cls, layout: Layout, final: Sequence[float], by_turn: Sequence[float] | None = None
    ) -> Attempts:
        """Attempts with these rewards; NaN in `final` for those that may not be believed."""
        end = np.asarray(final, np.float64)
        turns = np.zeros(len(layout.attempt)) if by_turn is None else np.asarray(by_turn, float)
        sums = np.bincount(layout.attempt, turns, minlength=len(end))
        return cls(layout, end + sums, end, turns)

    @property
    def rewards(self) -> Floats:
        """(V,) reward at each visit: its turn's, and at the last turn the final one."""
        out = self.by_turn.copy()
        for number in np.flatnonzero(self.believed):
            visits = np.flatnonzero(self.on_path & (self.layout.attempt == number))
            out[visits[-1:]] += self.final[number]
        return out

    @property
    def believed(self) -> Bools:
        """(N,) attempts whose return may be read."""
        return ~np.isnan(self.returns)

    @property
    def on_path(self) -> Bools:
        """(V,) visits that are a turn of a believed attempt's path."""
        return self.believed[self.layout.attempt] & (self.layout.position >= 0)

    def spread(self, values: Floats) -> Floats:
        """(V,) from one number an attempt; 0 where it may not be believed."""
        return np.where(self.believed, values, 0.0)[self.layout.attempt]

    def to_go(self, discount: float) -> Floats:
        """(V,) reward of the turn and, discounted, of all turns after it on the path.

        A turn that a fork cuts into several steps counts once. 0 off the path.

        Raises:
            AdvantageError: The discount lies outside [0, 1].
        """
        if not 0.0 <= discount <= 1.0:
            raise AdvantageError(f"discount must lie in [0, 1], got {discount}")
        rewards = self.rewards
        out = np.zeros(len(rewards))
        for number in np.flatnonzero(self.believed):
            visits = np.flatnonzero(self.on_path & (self.layout.attempt == number))
            out[visits] = _to_go(rewards[visits], self.layout.position[visits], discount)
        return out


def _to_go(rewards: Floats, position: Ints, discount: float) -> Floats:
    out, after, last = np.zeros(len(rewards)), 0.0, -1
    for k in range(len(rewards) - 1, -1, -1):
        if last >= 0:
            after *= discount ** float(last - position[k])
        after += rewards[k]
        out[k], last = after, int(position[k])
    # Every step of one turn has the return of the whole turn.
    for turn in np.unique(position):
        same = position == turn
        out[same] = out[same][0]
    return out


def attempts_of(layout: Layout, scores: Sequence[Score], of: str = TOTAL) -> Attempts:
    """A layout with the reward that a rule is about.

    Args:
        layout: Of the group.
        scores: One an attempt.
        of: ``total``: the combined score, given at the last turn. ``turns``: `Score.turns`.
            ``sum``: both. Else the name of a reward part: one number is given at the last turn,
            one a turn where it belongs.

    Raises:
        AdvantageError: No such part, or a part with another count than the attempt has turns.
    """
    final = np.full(len(scores), np.nan)
    returns = final.copy()
    by_turn = np.zeros(len(layout.attempt))
    for number, score in enumerate(scores):
        found = _rewards(score, of, int(layout.turns[number]))
        if found is None:
            continue
        final[number], turns = found
        returns[number] = final[number] + sum(turns.values())
        visits = np.flatnonzero((layout.attempt == number) & (layout.position >= 0))
        for turn, value in turns.items():
            by_turn[visits[layout.position[visits] == turn][-1:]] = value
    return Attempts(layout, returns, final, by_turn)


def _rewards(score: Score, of: str, turns: int) -> tuple[float, Mapping[int, float]] | None:
    """What is given at the end and at each turn; None where it may not be believed."""
    if isinstance(score.total, Unscored):
        return None
    if of in (TOTAL, TURNS, SUM):
        return (0.0 if of == TURNS else score.total), ({} if of == TOTAL else dict(score.turns))
    if of not in score.parts:
        known = ", ".join((TOTAL, TURNS, SUM, *score.parts))
        raise AdvantageError(f"a rule is about {of!r}, but there is only {known}")
    return _of_part(of, score.parts[of], turns)


def _of_part(name: str, marks: Marks, turns: int) -> tuple[float, Mapping[int, float]] | None:
    if marks is None or isinstance(marks, Unscored):
        return None
    if isinstance(marks, int | float):
        return float(marks), {}
    if len(marks) != turns:
        raise AdvantageError(
            f"part {name!r} gives {len(marks)} numbers, but the attempt has {turns} turns: credit "
            "follows parts that judge the attempt or its turns"
        )
    return 0.0, {t: float(v) for t, v in enumerate(marks)}


def check_counts(episodes: Sequence[object], scores: Sequence[Score]) -> None:
    """Refuse a group whose scores are not its own.

    Raises:
        VToolError: Counts differ.
    """
    if len(episodes) != len(scores):
        raise VToolError(f"{len(scores)} scores for {len(episodes)} episodes")
