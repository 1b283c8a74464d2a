"""Credit rules by name: a group of attempts in, one number a visit out.

A rule is `f(attempts, **options) -> (V,) floats`. It never sees tokens, tools or wire syntax, and
whom it may not believe gets 0 and enters no statistic. Blending rules, limiting them to kinds of
tokens and weighting samples is done around them (`credit_spec`, `group_advantage`).

Another package brings its own through the entry point group ``vtool.credit_rules``, or by
`@credit_rule("name")`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np

from vtool.errors import RecipeError
from vtool.registry import Registry

from .advantage import (
    EPS,
    ESTIMATORS,
    AdvantageError,
    Baseline,
    Floats,
    Scale,
    Singleton,
    group_baseline,
)
from .attempts import Attempts
from .fork_advantage import Pool, format_bound
from .situations import situations
from .visits import first_of_turn, of_first, pooled, to_end

Rule: TypeAlias = Callable[..., Floats]

BATCH_WIDE = "reinforce_pp_baseline"
"""The estimator that needs the whole batch; a rule sees one group."""

credit_rules: Registry[Rule] = Registry("credit rule", "vtool.credit_rules")


def credit_rule(name: str) -> Callable[[Rule], Rule]:
    """Register a rule under a name; the function itself is returned unchanged."""

    def make(fn: Rule) -> Rule:
        return credit_rules.add(name, fn)

    return make


@credit_rule("group")
def group(
    attempts: Attempts,
    *,
    center: bool = True,
    scale: Scale | str = Scale.STD,
    baseline: Baseline | str = Baseline.MEAN,
    eps: float = EPS,
    singleton: Singleton | str = Singleton.ZERO,
) -> Floats:
    """E1: each attempt's return against its group's, the same at all of its visits.

    Args:
        attempts: The group.
        center: Whether the baseline is subtracted.
        scale: ``std`` (n-1), ``pop`` (n) or ``none``.
        baseline: ``mean``, or ``loo``, the mean of the others.
        eps: Added to the divisor.
        singleton: ``zero``, or ``raw`` as verl has it.

    Source: GRPO (arXiv 2402.03300), Dr.GRPO (2503.20783), RLOO (2402.14740), LOOP (2502.01600).
    Trap: under `scale: std` a factor that the whole group shares is divided out; without `center`
    a constant in the reward pushes every attempt the same way.
    """
    return attempts.spread(
        group_baseline(
            attempts.returns,
            attempts.believed,
            center=center,
            scale=scale,
            baseline=baseline,
            eps=eps,
            singleton=singleton,
        )
    )


def _estimator(name: str) -> Rule:
    kernel = ESTIMATORS[name]

    def rule(attempts: Attempts, **options: Any) -> Floats:
        return attempts.spread(kernel(attempts.returns, attempts.believed, **options))

    rule.__name__, rule.__doc__ = name, kernel.__doc__
    rule.__wrapped__ = kernel  # type: ignore[attr-defined]
    return rule


for _name in ESTIMATORS:
    credit_rules.add(_name, _estimator(_name))


@credit_rule("turn_group")
def turn_group(
    attempts: Attempts,
    *,
    discount: float = 0.9,
    scale: Scale | str = Scale.STD,
    min_holders: int = 2,
    eps: float = EPS,
    singleton: Singleton | str = Singleton.ZERO,
) -> Floats:
    """E2: the discounted return from a turn on, against all attempts that have such a turn.

    MatchTIR: the defaults. CM2: ``discount: 0, scale: none, min_holders: 5``.

    Args:
        attempts: The group, with rewards by turn (`of: turns`, `sum` or a part).
        discount: Of later turns' rewards (lambda in MatchTIR).
        scale: Divisor among the attempts that hold the turn.
        min_holders: A turn that fewer attempts have gives nothing.
        eps: Added to the divisor.
        singleton: ``zero``; ``raw`` gives a turn reached once its raw return, as released code
            does, which makes long attempts learn from nothing but their length.

    Source: MatchTIR, turn-level half of the dual advantage; CM2, centred turn groups. Trap: a turn
    that one attempt alone reached says nothing of it; released code gives it its raw return.
    """
    _positive("min_holders", min_holders)
    layout, mask = attempts.layout, attempts.on_path
    returns, first = attempts.to_go(discount), first_of_turn(layout.attempt, layout.position)
    # A turn that a fork cut in two is held once.
    values = group_baseline(
        returns,
        mask & first,
        groups=layout.position,
        scale=scale,
        eps=eps,
        singleton=singleton,
        least=min_holders,
    )
    return np.where(mask, of_first(values, layout.attempt, layout.position), 0.0)


@credit_rule("anchor_group")
def anchor_group(
    attempts: Attempts,
    *,
    discount: float = 0.95,
    scale: Scale | str = Scale.STD,
    similarity: float = 1.0,
    eps: float = EPS,
) -> Floats:
    """E3: the discounted return from a step on, among steps that answer the same observation.

    The step half of GiGPO: blend it with ``group``. A situation seen once gives 0.

    Args:
        attempts: The group, from a recorded ground (what was seen must be known).
        discount: Of later rewards.
        scale: ``std`` or ``none``, the paper's two norms.
        similarity: From which share of equal tokens two observations count as one situation; 1
            asks for equal ones. Pictures must be equal either way.
        eps: Added to the divisor.

    Source: GiGPO (arXiv 2505.10978) eq. 6-8; the similarity form is its code's. Trap: crops that
    differ by a pixel are other situations; where attempts never meet again, nothing but the first
    step has any credit. An attempt that meets a situation twice is compared with itself.
    """
    seen = attempts.layout.seen
    if len(seen) != len(attempts.layout.parent):
        raise AdvantageError("anchor_group needs to know what each step answers (Layout.seen)")
    labels = situations(seen, similarity)[attempts.layout.step]
    return group_baseline(
        attempts.to_go(discount), attempts.on_path, groups=labels, scale=scale, eps=eps
    )


@credit_rule("fork_group")
def fork_group(
    attempts: Attempts,
    *,
    gamma: float = 1.0,
    pool: Pool | str = Pool.MEAN,
    scale: Scale | str = Scale.NONE,
    max_turns: int | None = None,
    eps: float = EPS,
) -> Floats:
    """E4: the value of a step against its siblings'; an only child gets 0.

    The value is the attempt's outcome, discounted by its distance, pooled over the attempts
    through the step. First steps are siblings of one another. Blend it with ``group`` (their
    shares are PORTool's omega).

    Args:
        attempts: The group; `of: sum` brings rewards by turn in as well.
        gamma: Discount a turn between a step and the end.
        pool: ``mean`` (default) or ``max`` over the attempts through a step. The paper leaves
            the choice open.
        scale: Divisor among siblings.
        max_turns: Where given, a step's own reward by turn (format, in [-1, 1]) counts at most
            ``gamma ** max_turns / 2``, so that outcomes decide.
        eps: Added to the divisor.

    Source: PORTool, tree rollouts with fork-relative advantages. Trap: attempts that share nothing
    are siblings at their first step only, so that alone it leaves later turns without credit.
    """
    layout, mask = attempts.layout, attempts.on_path
    count = len(layout.parent)
    distance = to_end(layout.attempt, layout.position)
    outcome = attempts.final[layout.attempt] * gamma**distance
    # A step's own reward was given once, to whoever took it: every visit says the same.
    own = pooled(attempts.by_turn, layout.step, mask, count, Pool.MEAN)
    values = pooled(outcome, layout.step, mask, count, Pool(pool))
    values += own * (1.0 if max_turns is None else format_bound(gamma, max_turns))
    siblings = group_baseline(values, ~np.isnan(values), groups=layout.parent, scale=scale, eps=eps)
    return np.where(mask, siblings[layout.step], 0.0)


class Stats(StrEnum):
    """What counts once in mean and deviation."""

    ROLLOUT = "rollout"
    """An attempt, as the formula of Flow-GRPO has it."""
    TURN = "turn"
    """A turn, as its released code has it: long attempts weigh more in the mean."""


@credit_rule("broadcast")
def broadcast(
    attempts: Attempts,
    *,
    stats: Stats | str = Stats.ROLLOUT,
    scale: Scale | str = Scale.STD,
    baseline: Baseline | str = Baseline.MEAN,
    eps: float = EPS,
) -> Floats:
    """E5: the outcome against the group's, broadcast to every turn.

    Args:
        attempts: The group.
        stats: Whether attempts (default, the paper) or turns (the released code) are counted.
        scale: Divisor.
        baseline: ``mean`` or ``loo``.
        eps: Added to the divisor.

    Source: Flow-GRPO (AgentFlow, arXiv 2510.05592). Trap: one right attempt of one turn and one
    wrong one of three have a mean of .5 by attempts, and of .25 by turns as the code counts.
    """
    if Stats(stats) is Stats.ROLLOUT:
        return group(attempts, scale=scale, baseline=baseline, eps=eps)
    layout = attempts.layout
    first = first_of_turn(layout.attempt, layout.position) & attempts.on_path
    outcome = np.where(attempts.on_path, attempts.returns[layout.attempt], 0.0)
    values = group_baseline(outcome, first, scale=scale, baseline=baseline, eps=eps)
    of_attempt = np.zeros(len(attempts.returns))
    of_attempt[layout.attempt[first]] = values[first]
    return attempts.spread(of_attempt)


@credit_rule("given")
def given(attempts: Attempts) -> Floats:
    """Rewards by turn as they stand, nothing subtracted.

    For combines that give credit a turn already (`Score.turns`).

    Args:
        attempts: The group, `of: turns`.

    Source: ours. Trap: nothing is centred, so that a reward that everybody gets pushes everybody.
    """
    return np.where(attempts.on_path, attempts.by_turn, 0.0)


def divides(rule: str, options: Mapping[str, Any]) -> bool:
    """Whether a rule divides by a deviation of the group, and so cancels its constant factors."""
    if rule == BATCH_WIDE:  # a rule is given one group: the batch that it divides by is that
        return True
    fn = credit_rules.get(rule)
    fn = getattr(fn, "__wrapped__", fn)
    default = (getattr(fn, "__kwdefaults__", None) or {}).get("scale", Scale.NONE)
    return Scale(options.get("scale", default)) is not Scale.NONE


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise RecipeError(f"{name} must be at least 1, got {value}")
