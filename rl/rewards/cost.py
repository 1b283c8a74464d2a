"""R6, cost: fewer calls, pixels and tokens for the same answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vtool.media import Clip, Image
from vtool.record import Episode
from vtool.reward import Scope, Unscored, parts, reward
from vtool.task import Task

RIGHT = 0.5
"""An outcome above this counts as right."""


@reward("economy")
def economy(episode: Episode, task: Task) -> float:
    """1 with no more calls than the task has places to look at, less with each further one.

    `1 / (1 + excess)`; a task without evidence needs none, so that a call costs there.

    Source: ours, the economy half of the hierarchies.
    """
    return 1.0 / (1 + max(0, count_calls(episode) - len(task.evidence)))


@reward("economy_pixels")
def economy_pixels(episode: Episode, task: Task, *, free: float = 1.0) -> float:
    """1 while tools added no more than `free` times the question's own pixels, then less.

    `1 / (1 + excess)`, the excess counted in question sizes. Source: ours; what is counted is what
    VisionThink saves, visual tokens.
    """
    store = episode.final.store
    asked = added = 0
    for entry in store:
        if isinstance(entry.value, Image | Clip):
            width, height = entry.value.size
            frames = len(entry.value.frames) if isinstance(entry.value, Clip) else 1
            if entry.origin.tool is None and entry.origin.parent is None:
                asked += width * height * frames
            else:
                added += width * height * frames
    return 1.0 / (1 + max(0.0, added / asked - free)) if asked else 1.0


@reward("economy_tokens")
def economy_tokens(episode: Episode, task: Task, *, free: int = 512) -> float:
    """1 up to `free` tokens of the policy, then `free / tokens`.

    Source: ours, the economy half of the hierarchies.
    """
    tokens = sum(int(c.mask().sum()) for c in episode.contexts)
    return min(1.0, free / tokens) if tokens else 1.0


@reward("otc_smooth")
def otc_smooth(episode: Episode, task: Task, *, c: float = 1.0) -> float:
    """cos(m pi / (2 m + c)) for m calls: 1 without any.

    Source: OTC-PPO. A factor: multiply a right answer by it (combine `product`).
    """
    return otc_ppo(count_calls(episode), c)


@reward("otc", scope=Scope.GROUP)
def otc(
    episodes: Sequence[Episode], task: Task, *, outcome: str = "answer", c: float = 1.0
) -> list[float | Unscored]:
    """OTC's factor by the fewest calls with which the group got it right.

    Args:
        episodes: The group.
        task: Its task.
        outcome: Part that says which members are right.
        c: Of the cosine, where the fewest is 0.

    Source: OTC-GRPO. Trap: n counts correct members only; with none the factor is 1 and does not
    matter, since a product with a wrong answer is 0.
    """
    judge = parts.get(outcome)
    marks = [judge.fn(e, task) for e in episodes]
    calls = [count_calls(e) for e in episodes]
    right = [m for m, mark in zip(calls, marks, strict=True) if is_right(mark)]
    if not right:
        return [1.0] * len(calls)
    return [otc_grpo(m, min(right), c) for m in calls]


@reward("redundancy")
def redundancy(episode: Episode, task: Task, *, allowed: int = 1, each: float = 0.05) -> float:
    """`each` * min(allowed - calls, 0): nothing for the first, less for every further one.

    Source: Pixel-Reasoner (beta = .05, N = 1), in its own code and in verl-tool's port.
    """
    return each * min(allowed - count_calls(episode), 0)


@reward("call_cap")
def call_cap(episode: Episode, task: Task, *, most: int = 5, penalty: float = 1.0) -> float:
    """-`penalty` above `most` calls, else 0.

    Source: VideoChat-M1 (a strong penalty above 5 calls; its size is not published, 1 is ours).
    """
    return -penalty if count_calls(episode) > most else 0.0


@reward("preference_cost", scope=Scope.GROUP)
def preference_cost(
    episodes: Sequence[Episode],
    task: Task,
    *,
    prices: Mapping[str, float] | None = None,
    preference: Mapping[str, float] | None = None,
) -> list[float]:
    """What a user prefers, over min-max normalised columns: calls per tool, outcome, cost, time.

    Columns are each tool's calls, `money` (calls times price, negative), `latency` (seconds,
    negative); the preference gives each its weight. Multiply by a right answer (`product`).

    Source: ToolOrchestra, 1[outcome] <M, P>. Trap: published normalisation is over the batch, this
    one is over the group; a constant column counts 0, not NaN.
    """
    prices, wanted = prices or {}, preference or {"money": 1.0}
    rows = [_columns(e, prices) for e in episodes]
    names = sorted({*wanted} & {k for row in rows for k in row})
    columns = {k: min_max([row.get(k, 0.0) for row in rows]) for k in names}
    return [math.fsum(wanted[k] * columns[k][i] for k in names) for i in range(len(rows))]


def otc_ppo(calls: int, c: float = 1.0) -> float:
    """cos(m pi / (2 m + c)). Source: OTC-PPO."""
    return math.cos(calls * math.pi / (2 * calls + c))


def otc_grpo(calls: int, fewest: int, c: float = 1.0) -> float:
    """1 if both are 0, cos(m pi / (2 m + c)) if the fewest is 0, else sin(f pi / 2 n).

    f = 2 n m / (n + m). Source: OTC-GRPO; (m, n) = (2, 2) 1, (4, 2) .866, (0, 2) 0.
    """
    if fewest == 0:
        return 1.0 if calls == 0 else otc_ppo(calls, c)
    mapped = 2 * fewest * calls / (fewest + calls)
    return math.sin(mapped * math.pi / (2 * fewest))


def min_max(values: Sequence[float]) -> list[float]:
    """Values from 0 (smallest) to 1 (largest); all 0 where they do not differ."""
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 0.0 for v in values]


def count_calls(episode: Episode) -> int:
    """All calls of an episode, refused ones too."""
    return sum(len(action.calls) for action in episode.actions())


def is_right(mark: object) -> bool:
    """Whether an outcome counts as right."""
    return isinstance(mark, int | float) and mark > RIGHT


def _columns(episode: Episode, prices: Mapping[str, float]) -> dict[str, float]:
    ran = [o for o in episode.outcomes() if o.call is not None]
    names = [o.bound.tool if o.bound is not None else str(o.call and o.call.name) for o in ran]
    row: dict[str, float] = {name: float(names.count(name)) for name in names}
    row["money"] = -math.fsum(prices.get(name, 1.0) for name in names)
    row["latency"] = -math.fsum(o.seconds for o in ran)
    return row
