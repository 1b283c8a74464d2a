"""From groups and scores to credit: one number a context segment.

Thin wrappers around the kernels in `advantage` and `fork_advantage`, which know arrays only.
Episodes that failed by our fault, or that nobody could score, leave every statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtool.errors import VToolError
from vtool.message import Author
from vtool.record import Context, Episode, Fold, Fork, Spawn
from vtool.reward import Score, Unscored

from .advantage import ESTIMATORS, Floats
from .fork_advantage import blend, fork_relative, step_values, trajectory_relative
from .sample_weight import WeightSpec, weighted_advantages


@dataclass(frozen=True, slots=True)
class Credit:
    """What a context is to learn: a number for each of its segments."""

    episode: Episode
    context: Context
    segments: tuple[float, ...]

    @property
    def dead(self) -> bool:
        """Whether no policy token of its own would move."""
        own = zip(self.context.segments, self.segments, strict=True)
        told = list(own)[self.context.shared :]
        return not any(c != 0 for s, c in told if s.author is Author.POLICY)


def totals(scores: Sequence[Score]) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Returns of a group, and which of them may be believed; NaN where not."""
    values = [np.nan if isinstance(s.total, Unscored) else s.total for s in scores]
    array = np.asarray(values, np.float64)
    return array, ~np.isnan(array)


def group_credits(
    episodes: Sequence[Episode],
    scores: Sequence[Score],
    estimator: str = "grpo",
    options: Mapping[str, Any] | None = None,
    weight: WeightSpec | None = None,
) -> list[Credit]:
    """Credit of attempts at one task, flat sampling.

    Every policy segment of an episode gets its advantage, plus the turn's own credit where the
    combine gave one (`Score.turns`).

    Args:
        episodes: The group.
        scores: One an episode.
        estimator: Name of a kernel: grpo, dr_grpo, rloo, reinforce_pp_baseline.
        options: Of the kernel.
        weight: How much the group counts.

    Returns:
        One credit for each context of each episode that may be believed.

    Raises:
        VToolError: Counts differ, or no such estimator.
    """
    if len(episodes) != len(scores):
        raise VToolError(f"{len(scores)} scores for {len(episodes)} episodes")
    if estimator not in ESTIMATORS:
        raise VToolError(f"no estimator {estimator!r}; there is {', '.join(ESTIMATORS)}")
    returns, believed = totals(scores)
    advantages = weighted_advantages(
        returns, believed, estimator, options or {}, weight or WeightSpec()
    )
    return [
        Credit(episode, context, _spread(episode, context, float(advantage), score.turns))
        for episode, score, advantage, fine in zip(
            episodes, scores, advantages, believed, strict=True
        )
        if fine
        for context in episode.contexts
        if context.has_tokens
    ]


def _spread(
    episode: Episode, context: Context, advantage: float, turns: Mapping[int, float]
) -> tuple[float, ...]:
    """Advantage of the episode, and the turn's own credit where the turn is the episode's."""
    before = _turns_before(episode, context)
    return tuple(
        advantage + (0.0 if before is None else turns.get(before + s.turn, 0.0))
        if s.author is Author.POLICY
        else 0.0
        for s in context.segments
    )


def _turns_before(episode: Episode, context: Context) -> int | None:
    """Assistant turns of the path before this context; None for a child: its turns are its own."""
    count = 0
    while context.edge is not None:
        if isinstance(context.edge, Spawn):
            return None
        parent = episode.contexts[context.edge.parent]
        if isinstance(context.edge, Fold):
            count += parent.turn
        context = parent
    return count


@dataclass(frozen=True, slots=True)
class Node:
    """A stretch of a context between two forks: all of its tokens share one credit."""

    context: int
    start: int
    end: int
    parent: int
    leaf: bool


def tree_nodes(episode: Episode) -> list[Node]:
    """The tree of an episode whose contexts are tied by forks, parents before children."""
    anchors = {c.number: anchor(episode, c) for c in episode.contexts}
    nodes: list[Node] = []
    last: dict[tuple[int, int], int] = {}
    for context in episode.contexts:
        inside = {
            at
            for number, at in anchors.values()
            if number == context.number and context.shared < at < len(context.segments)
        }
        above = last.get(anchors[context.number], -1)
        start = context.shared
        for cut in [*sorted(inside), len(context.segments)]:
            leaf = cut == len(context.segments) and context.stop is not None
            nodes.append(Node(context.number, start, cut, above, leaf))
            above = last[(context.number, cut)] = len(nodes) - 1
            start = cut
    return nodes


def anchor(episode: Episode, context: Context) -> tuple[int, int]:
    """The context that wrote the last segment which a fork shares, and how many that makes.

    A fork may go on from within what its parent itself shares with an earlier one. (-1, 0) for a
    context that shares nothing.
    """
    number, at = context.number, context.shared
    while number >= 0 and at <= episode.contexts[number].shared:
        edge = episode.contexts[number].edge
        number = edge.parent if isinstance(edge, Fork) and at else -1
    return (number, at) if number >= 0 else (-1, 0)


def tree_credits(
    episode: Episode, scores: Mapping[int, Score], *, gamma: float = 1.0, fork_weight: float = 0.5
) -> list[Credit]:
    """Credit of one episode that is a tree: each step against its siblings, and the whole.

    Args:
        episode: With `Fork` edges.
        scores: By number of the context in which a path ends, one a leaf.
        gamma: Discount a step.
        fork_weight: Share of the fork-relative advantage; the rest is relative to all leaves.

    Returns:
        One credit a context; a shared step is learnt from once, in the context that wrote it.

    Source: PORTool (fork-relative and trajectory-relative advantages, blended).
    """
    nodes = tree_nodes(episode)
    parent = np.array([n.parent for n in nodes])
    returns = np.full(len(nodes), np.nan)
    for i, node in enumerate(nodes):
        score = scores.get(node.context)
        if node.leaf and score is not None and not isinstance(score.total, Unscored):
            returns[i] = score.total
    believed = ~np.isnan(returns)
    values = step_values(parent, returns, gamma=gamma, mask=believed)
    fork = fork_relative(parent, values)
    whole = trajectory_relative(parent, returns, mask=believed)
    advantage = blend(fork, whole, fork_weight)
    return [
        Credit(episode, context, _of_nodes(context, nodes, advantage))
        for context in episode.contexts
        if context.has_tokens
    ]


def _of_nodes(context: Context, nodes: Sequence[Node], advantage: Floats) -> tuple[float, ...]:
    out = [0.0] * len(context.segments)
    for node, value in zip(nodes, advantage, strict=True):
        if node.context == context.number:
            for i in range(node.start, node.end):
                if context.segments[i].author is Author.POLICY:
                    out[i] = float(value)
    return tuple(out)
