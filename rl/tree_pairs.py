"""Pairs for the preference loss: two ways to go on from one past.

`step_pairs` says which steps of a tree make pairs; `tree_pairs` finds them in recorded attempts,
flat groups and trees alike; `ranked_pairs` sets whole attempts against each other. A pair shares
its past exactly: the same segments, or, in flat groups, the same ids.

Source: TP-LLaMA (inference trees: at each node of a successful path the child on the path is
chosen, its failed siblings are rejected); Tool-Star (best against worst of a group).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vtool.errors import VToolError
from vtool.record import Context, Episode
from vtool.reward import Score, Unscored

from .advantage import Bools
from .attempts import check_counts
from .blend import totals
from .fork_advantage import depths
from .layout import Ground, Step, lay_out


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to go on: some segments of a context, after all that stands before them.

    Args:
        episode: Whose.
        context: Which context, by number.
        start: First segment that is preferred or not.
        end: Behind the last one.
    """

    episode: Episode
    context: int
    start: int
    end: int

    def past(self) -> tuple[int, ...]:
        """Ids of all that stands before it."""
        whole = self.episode.contexts[self.context]
        parts = [s.ids.tolist() for s in whole.segments[: self.start] if s.ids is not None]
        return tuple(i for p in parts for i in p)

    def cut(self) -> Context:
        """The context up to its end, as one that shares nothing."""
        whole = self.episode.contexts[self.context]
        out = Context(whole.number, whole.seat, whole.store)
        for segment in whole.segments[: self.end]:
            out.append(segment)
        return out


@dataclass(frozen=True, slots=True)
class Pair:
    """Of two answers to one past, the better and the worse."""

    chosen: Answer
    rejected: Answer


def step_pairs(parent: ArrayLike, good: ArrayLike, failed: ArrayLike) -> list[tuple[int, int]]:
    """Which steps of a tree are chosen and rejected.

    Args:
        parent: (S,) step before each step, -1 for first ones; parents before children.
        good: (S,) True for steps on a successful path.
        failed: (S,) True for steps from which every known path fails.

    Returns:
        (chosen, rejected) for each step on a successful path and each failed sibling of it.

    Raises:
        VToolError: A step that is both, or a tree out of order.
    """
    up, fine, lost = np.asarray(parent), np.asarray(good, bool), np.asarray(failed, bool)
    depths(up)
    if (fine & lost).any():
        raise VToolError(f"step {int(np.argmax(fine & lost))} is both good and failed")
    return [
        (int(one), int(other))
        for one in np.flatnonzero(fine)
        for other in np.flatnonzero(lost & (up == up[one]))
    ]


def tree_pairs(
    episodes: Sequence[Episode], scores: Sequence[Score], *, threshold: float = 1.0
) -> list[Pair]:
    """Step-wise pairs of a group: at each fork, what led to success against what did not.

    Attempts that nobody could score say nothing: a step is failed only if all its attempts are
    scored and stay below the threshold.

    Args:
        episodes: Views of trees (`Episode.leaves`), flat attempts, or both.
        scores: One an attempt.
        threshold: Total from which an attempt is a success.

    Raises:
        VToolError: Counts differ.
    """
    check_counts(episodes, scores)
    ground = lay_out(episodes)
    returns, believed = totals(scores)
    success = believed & (np.nan_to_num(returns, nan=-np.inf) >= threshold)
    good = _any(ground, success)
    lost = _any(ground, believed) & ~good & ~_any(ground, ~believed)
    pairs = step_pairs(ground.layout.parent, good, lost)
    made = [(_answer(ground, a), _answer(ground, b)) for a, b in pairs]
    return [Pair(a, b) for a, b in made if a.past() == b.past()]


def ranked_pairs(
    episodes: Sequence[Episode], scores: Sequence[Score], *, margin: float = 0.0
) -> list[Pair]:
    """The best attempt of a group against its worst, from where they differ.

    Args:
        episodes: Attempts of one context each (no folds) that begin alike.
        scores: One an attempt.
        margin: The totals must lie further apart than this.

    Returns:
        One pair, or none.

    Raises:
        VToolError: Counts differ.
    """
    check_counts(episodes, scores)
    told = [(i, s.total) for i, s in enumerate(scores) if not isinstance(s.total, Unscored)]
    told = [(i, t) for i, t in told if episodes[i].contexts and episodes[i].final.has_tokens]
    if not told:
        return []
    best, worst = max(told, key=lambda r: r[1]), min(told, key=lambda r: r[1])
    if not best[1] - worst[1] > margin:
        return []
    one, other = (episodes[i].final for i in (best[0], worst[0]))
    start = _common(one, other)
    chosen = Answer(episodes[best[0]], one.number, start, len(one.segments))
    rejected = Answer(episodes[worst[0]], other.number, start, len(other.segments))
    return [Pair(chosen, rejected)] if start and chosen.past() == rejected.past() else []


def _any(ground: Ground, attempts: Bools) -> Bools:
    """(S,) whether any of the attempts goes through a step of its path."""
    out = np.zeros(len(ground.steps), bool)
    on_path = ground.layout.position >= 0
    out[ground.layout.step[on_path & attempts[ground.layout.attempt]]] = True
    return out


def _answer(ground: Ground, number: int) -> Answer:
    step: Step = ground.steps[number]
    episode = ground.records[step.record]
    return Answer(episode, step.context, step.segments[0], step.segments[-1] + 1)


def _common(one: Context, other: Context) -> int:
    """How many leading segments two contexts have in common."""
    count = 0
    for a, b in zip(one.segments, other.segments, strict=False):
        if a.ids is None or b.ids is None or not np.array_equal(a.ids, b.ids):
            break
        count += 1
    return count
