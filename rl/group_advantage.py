"""From groups and scores to credit: numbers for each segment of a context, or for each token.

Thin wrappers around the rules of `credit_rules`, which know arrays only. A group is a sequence
of attempts: flat episodes, or views of one tree (`Episode.leaves`), or both. Attempts that
failed by our fault, or that nobody could score, leave every statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtool.codec import Codec
from vtool.errors import VToolError
from vtool.record import Context, Episode, Fork
from vtool.reward import Score

from .advantage import ESTIMATORS, Floats
from .attempts import check_counts
from .blend import blend_visits, totals
from .credit import Credit
from .credit_spec import CreditSpec, RuleSpec, Shared, resolve
from .layout import Ground, handed_in, lay_out, owner
from .sample_weight import WeightSpec
from .token_spans import ALL, tokens_of_kind
from .whiten import settle

__all__ = [
    "Credit",
    "Node",
    "anchor",
    "blended_credits",
    "group_credits",
    "settle",
    "totals",
    "tree_credits",
    "tree_nodes",
]


def group_credits(
    episodes: Sequence[Episode],
    scores: Sequence[Score],
    estimator: str = "grpo",
    options: Mapping[str, Any] | None = None,
    weight: WeightSpec | None = None,
    *,
    credit: CreditSpec | None = None,
    codecs: Mapping[str, Codec] | None = None,
) -> list[Credit]:
    """Credit of attempts at one task; the group is taken for the whole batch.

    By default every policy segment of an attempt gets its advantage, plus the turn's own credit
    where the combine gave one (`Score.turns`).

    Args:
        episodes: The group: flat episodes, views of trees, or both.
        scores: One an attempt.
        estimator: Name of a kernel: grpo, dr_grpo, rloo, reinforce_pp_baseline.
        options: Of the kernel.
        weight: How much the group counts.
        credit: A blend of rules, in the place of the estimator.
        codecs: Tokenizers by seat, for credit on kinds of tokens that are found in the text.

    Returns:
        One credit for each context of each attempt that may be believed.

    Raises:
        VToolError: Counts differ, or no such estimator or rule.
    """
    if estimator not in ESTIMATORS:
        raise VToolError(f"no estimator {estimator!r}; there is {', '.join(ESTIMATORS)}")
    spec = resolve(credit, estimator, options, weight)
    return settle(blended_credits(episodes, scores, spec, codecs), spec)


def blended_credits(
    episodes: Sequence[Episode],
    scores: Sequence[Score],
    spec: CreditSpec,
    codecs: Mapping[str, Codec] | None = None,
) -> list[Credit]:
    """Credit of one group by a blend; what the whole batch decides is left to `settle`.

    Args:
        episodes: The group.
        scores: One an attempt.
        spec: The blend.
        codecs: Tokenizers by seat.

    Raises:
        VToolError: Counts differ, no such rule, or options that it does not have.
    """
    check_counts(episodes, scores)
    ground = lay_out(episodes)
    values = blend_visits(ground, scores, spec)
    _, believed = totals(scores)
    alive = np.flatnonzero(believed)
    if spec.shared is Shared.EACH:
        return [c for n in alive for c in _each(episodes[n], int(n), ground, values, codecs)]
    return _once(episodes, [int(n) for n in alive], ground, values, codecs)


def _once(
    episodes: Sequence[Episode],
    alive: Sequence[int],
    ground: Ground,
    values: Mapping[str, Floats],
    codecs: Mapping[str, Codec] | None,
) -> list[Credit]:
    """Each context once; a step has the mean over the believed attempts through it."""
    mask = np.isin(ground.layout.attempt, alive)
    of_step = {on: _step_means(ground, v, mask) for on, v in values.items()}
    placed: dict[tuple[int, int], dict[int, int]] = {}
    for number, step in enumerate(ground.steps):
        here = placed.setdefault((step.record, step.context), {})
        here |= dict.fromkeys(step.segments, number)
    done: set[tuple[int, int]] = set()
    out = []
    for attempt in alive:
        record = ground.record[attempt]
        for number in ground.contexts[attempt]:
            if (record, number) not in done:
                done.add((record, number))
                steps = placed.get((record, number), {})
                context = episodes[attempt].contexts[number]
                out.append(_credit(episodes[attempt], context, steps, of_step, codecs))
    return out


def _each(
    episode: Episode,
    attempt: int,
    ground: Ground,
    values: Mapping[str, Floats],
    codecs: Mapping[str, Codec] | None,
) -> list[Credit]:
    """The contexts of one attempt with all that they read, whoever wrote it."""
    visits = np.flatnonzero(ground.layout.attempt == attempt)
    visited = ground.layout.step[visits]
    of_step = {on: dict(zip(visited.tolist(), v[visits], strict=True)) for on, v in values.items()}
    place = {
        (ground.steps[s].context, i): int(s) for s in visited for i in ground.steps[s].segments
    }
    out = []
    for number in _ends(episode, ground.contexts[attempt]):
        context = episode.contexts[number]
        owners = {i: owner(episode, number, i) for i in range(len(context.segments))}
        steps = {i: place[o] for i, o in owners.items() if o in place}
        out.append(_credit(episode, context, steps, of_step, codecs, whole=True))
    return out


def _ends(episode: Episode, numbers: Sequence[int]) -> list[int]:
    """Contexts of an attempt of which no other one is a fork: they read all the rest."""
    parents = set()
    for number in numbers:
        edge = episode.contexts[number].edge
        while isinstance(edge, Fork):
            parents.add(edge.parent)
            edge = episode.contexts[edge.parent].edge
    return [n for n in numbers if n not in parents]


def _credit(
    episode: Episode,
    context: Context,
    steps: Mapping[int, int],
    of_step: Mapping[str, Any],
    codecs: Mapping[str, Codec] | None,
    *,
    whole: bool = False,
) -> Credit:
    """Lay the values of steps onto the segments of a context that belong to them."""
    base = [0.0] * len(context.segments)
    extra: list[Floats | None] = [None] * len(context.segments)
    codec = (codecs or {}).get(context.seat)
    for i, step in steps.items():
        base[i] = float(of_step[ALL][step]) if ALL in of_step else 0.0
        for on, numbers in of_step.items():
            if on != ALL and numbers[step] != 0:
                where = tokens_of_kind(on, context, i, codec.pieces if codec else None)
                so_far = extra[i]
                told = np.full(len(where), base[i]) if so_far is None else so_far
                extra[i] = told + float(numbers[step]) * where
    some = any(e is not None for e in extra)
    past = handed_in(episode, context.number) if whole else 0
    return Credit(episode, context, tuple(base), tuple(extra) if some else (), whole, past)


def _step_means(ground: Ground, values: Floats, mask: Any) -> Floats:
    count = len(ground.steps)
    visits = ground.layout.step[mask]
    sums = np.bincount(visits, values[mask], minlength=count)
    return sums / np.maximum(np.bincount(visits, minlength=count), 1)


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

    The blend of `fork_group` and `group` over the leaves of the tree.

    Args:
        episode: With `Fork` edges.
        scores: By number of the context in which a path ends, one a leaf.
        gamma: Discount a turn.
        fork_weight: Share of the fork-relative advantage; the rest is relative to all leaves.

    Returns:
        One credit a context; a shared step is learnt from once, in the context that wrote it.

    Source: PORTool (fork-relative and trajectory-relative advantages, blended).
    """
    if not 0.0 <= fork_weight <= 1.0:
        raise VToolError(f"fork_weight is a share, 0 to 1, not {fork_weight}")
    views = [v for v in episode.leaves() if v.leaf in scores]
    blend = (
        RuleSpec("fork_group", fork_weight, options={"gamma": gamma}),
        RuleSpec("group", 1.0 - fork_weight),
    )
    given = [scores[v.final.number] for v in views]
    found = {c.context.number: c for c in blended_credits(views, given, CreditSpec(blend))}
    return [
        found.get(c.number) or Credit(episode, c, (0.0,) * len(c.segments))
        for c in episode.contexts
        if c.has_tokens
    ]
