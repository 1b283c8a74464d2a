"""Groups of attempts made by hand, for tests of credit: flat, branched, folded, with children."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scripts import begin, observation, picture, plain_renderer, question, reply, say
from vtool.rl.credit_spec import CreditSpec
from vtool.rl.group_advantage import blended_credits

from vtool.message import Author, Show
from vtool.record import Context, Episode, Fork, StopReason
from vtool.reward import Score, Unscored

RENDERER = plain_renderer()
CODECS = {"policy": RENDERER.codec}


def scored(total: float | None, turns: dict[int, float] | None = None, **parts: object) -> Score:
    """A score; None where nobody could judge."""
    value = Unscored("lost") if total is None else float(total)
    return Score(parts, value, turns or {})


def opened(task: str = "t") -> tuple[Episode, Context]:
    """An episode that shows a picture and asks."""
    episode = Episode(task_id=task)
    episode.store.add(picture())
    context = episode.open("policy")
    for segment in begin(RENDERER, [question(Show("image_1"), "What?")], episode.store).segments:
        context.append(segment)
    return episode, context


def turn(context: Context, text: str, seed: int = 0, told: str | None = None) -> None:
    """A turn of the policy and, unless it ends the path, what comes back."""
    act = say(RENDERER, context, text, seed=seed)
    if told is None:
        context.stop, context.answer = StopReason.ANSWERED, text
    else:
        call = act.action.calls[0] if act.action.calls else None
        reply(RENDERER, context, observation(told, call=call))


def branched(widths: Sequence[int] = (2, 2)) -> Episode:
    """A tree of two forks: a trunk of two turns and an answer; `widths` paths at each turn.

    Every path but the trunk answers right after its fork.
    """
    episode, trunk = opened()
    for depth, width in enumerate(widths):
        at = len(trunk.segments)
        for i in range(width - 1):
            other = episode.open("policy", edge=Fork(trunk.number, at))
            turn(other, f"Other {depth}{i}.\n<answer>{depth}</answer>", seed=10 * depth + i + 5)
        turn(trunk, f"Trunk {depth}.", seed=depth, told=f"seen {depth}")
    turn(trunk, "Last.\n<answer>7</answer>", seed=99)
    episode.stop = StopReason.ANSWERED
    return episode


def policy_values(credit: object) -> list[float]:
    """Mean credit of each policy segment of a context, shared ones included."""
    pairs = zip(credit.context.segments, credit.laid, strict=True)
    return [float(np.mean(v)) for s, v in pairs if s.author is Author.POLICY]


def credit_of(episodes, totals, *rules, **spec):
    scores = [scored(t) for t in totals]
    found = blended_credits(episodes, scores, CreditSpec(rules, **spec), CODECS)
    return [policy_values(c) for c in found]
