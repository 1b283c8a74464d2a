"""Counts over finished episodes: what training and evaluation report beside scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vtool.media import Clip
from vtool.message import Outcome
from vtool.record import Context, Episode


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """What one episode did."""

    turns: int
    calls: int
    valid_calls: int
    repeats: int
    """Calls that ask again for exactly what was asked before: allowed, counted, worth nothing."""
    faults: Mapping[str, int]
    images: int
    """Pictures and frames of clips that were shown, those shown twice counted twice."""
    tokens: int
    policy_tokens: int


def count_episode(episode: Episode) -> EpisodeCounts:
    """Count one episode along its final path."""
    outcomes = episode.outcomes()
    run = [o for o in outcomes if o.call is not None]
    context = episode.final
    faults = Counter(str(o.fault.code) for o in outcomes if o.fault is not None)
    return EpisodeCounts(
        turns=len(episode.actions()),
        calls=len(run),
        valid_calls=sum(o.fault is None for o in run),
        repeats=count_repeats(run),
        faults=dict(faults),
        images=sum(_pictures(context, s.handle) for m in context.messages() for s in m.shows),
        tokens=len(context),
        policy_tokens=int(context.mask().sum()),
    )


def _pictures(context: Context, handle: str) -> int:
    value = context.store[handle].value
    return len(value.frames) if isinstance(value, Clip) else 1


def count_repeats(outcomes: Sequence[Outcome]) -> int:
    """How many calls ask for what an earlier call of the episode asked for."""
    keys = [call_key(o) for o in outcomes if o.call is not None]
    return len(keys) - len(set(keys))


def call_key(outcome: Outcome) -> str:
    """Identifies what a call asks for."""
    assert outcome.call is not None
    return json.dumps([outcome.call.name, dict(outcome.call.arguments)], sort_keys=True)


def mean_counts(counts: Sequence[EpisodeCounts]) -> dict[str, float]:
    """Rates over episodes: tool rate, calls, valid share, repeats, turns, faults by code."""
    n = max(1, len(counts))
    calls = sum(c.calls for c in counts)
    faults: Counter[str] = Counter()
    for c in counts:
        faults.update(c.faults)
    return {
        "tool_rate": sum(c.calls > 0 for c in counts) / n,
        "calls": calls / n,
        "valid_call_rate": sum(c.valid_calls for c in counts) / calls if calls else 1.0,
        "repeats": sum(c.repeats for c in counts) / n,
        "turns": sum(c.turns for c in counts) / n,
        "images": sum(c.images for c in counts) / n,
        "tokens": sum(c.tokens for c in counts) / n,
        "policy_tokens": sum(c.policy_tokens for c in counts) / n,
        **{f"fault/{code}": k / n for code, k in sorted(faults.items())},
    }
