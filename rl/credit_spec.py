"""How attempts become credit, said in a recipe: a blend of rules by name.

`credit: {blend: [{rule: group, weight: 0.5}, {rule: turn_group, of: turns, weight: 0.5}]}` is
MatchTIR. A rule is about one reward (`of`) and lands on one kind of tokens (`on`); the blend is
the weighted sum. Without a blend, a recipe's `estimator` alone decides.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vtool.errors import RecipeError, UnknownName

from .attempts import TOTAL, TURNS
from .credit_rules import BATCH_WIDE, credit_rules, divides
from .sample_weight import WEIGHTS, Placement, WeightSpec
from .token_spans import ALL, token_kinds


class Shared(StrEnum):
    """How a step is learnt that several attempts share."""

    ONCE = "once"
    """In the context that wrote it, from the mean over its attempts (ARPO's hard form)."""
    EACH = "each"
    """In every attempt anew, from that attempt's own credit (ARPO's soft form, its released
    code): its tokens count as often as attempts run through it."""


class Whiten(StrEnum):
    """What the credit of a whole step is divided by."""

    NONE = "none"
    """Nothing."""
    ROLLOUT = "rollout"
    """The deviation of the batch, in which an attempt counts once. What is 0 stays 0."""
    TOKEN = "token"
    """The deviation of the batch, in which a token counts once, as released trainers do. Trap:
    the mean over tokens, which is not 0 where attempts differ in length, is subtracted too, so
    that groups of one, groups of equals and tokens outside of a kind get a credit after all."""


@dataclass(frozen=True)
class RuleSpec:
    """One term of a blend.

    Args:
        rule: Registered credit rule.
        weight: Its factor; 0 leaves it out.
        of: The reward it is about: ``total``, ``turns``, ``sum``, or the name of a part.
        on: The kind of tokens it lands on.
        options: Of the rule.
    """

    rule: str = "group"
    weight: float = 1.0
    of: str = TOTAL
    on: str = ALL
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OverlongSpec:
    """Soft punishment of long attempts, added to their total before any rule sees it.

    Args:
        limit: Policy tokens of an attempt at which the full penalty holds; None for no penalty.
        buffer: Width of the ramp before it, in tokens.
        factor: The full penalty.
    """

    limit: int | None = None
    buffer: int = 1
    factor: float = 1.0


@dataclass(frozen=True)
class CreditSpec:
    """How the attempts of a group become credit.

    Args:
        blend: Rules whose weighted sum is the credit; empty for the recipe's estimator.
        weights: How much attempts count, multiplied onto the blend one after the other.
        shared: How steps are learnt that several attempts share.
        whiten: Whether the credit of the whole batch is divided by its deviation.
        whiten_eps: Added to the batch's variance, inside the root.
        overlong: Soft punishment of long attempts (DAPO).
        least: Credit nearer to 0 than this becomes 0 (LOOP: 0.01).
    """

    blend: tuple[RuleSpec, ...] = ()
    weights: tuple[WeightSpec, ...] = ()
    shared: Shared = Shared.ONCE
    whiten: Whiten = Whiten.NONE
    whiten_eps: float = 1e-8
    overlong: OverlongSpec = field(default_factory=OverlongSpec)
    least: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared", Shared(self.shared))
        object.__setattr__(self, "whiten", Whiten(self.whiten))

    @property
    def words(self) -> str:
        """The rule in a line, for people."""
        told = [
            (f"{t.weight:g} x " if t.weight != 1 else "")
            + t.rule
            + (f" of {t.of}" if t.of != TOTAL else "")
            + (f" on {t.on}" if t.on != ALL else "")
            for t in self.terms()
        ]
        tail = "" if self.whiten is Whiten.NONE else f", over the batch's deviation ({self.whiten})"
        return " + ".join(told) + tail

    def terms(self) -> tuple[RuleSpec, ...]:
        """The rules that weigh anything."""
        return tuple(r for r in self.blend if r.weight != 0)


def resolve(
    credit: CreditSpec | None = None,
    estimator: str = "grpo",
    options: Mapping[str, Any] | None = None,
    weight: WeightSpec | None = None,
) -> CreditSpec:
    """The whole rule of a recipe: its blend, or what its estimator stands for.

    An estimator stands for itself on the total, plus credit by turn as the combine gave it.
    ``reinforce_pp_baseline`` centres by group; the batch's deviation is that of the whole step.

    Args:
        credit: Of the recipe.
        estimator: Of the recipe; used where there is no blend.
        options: Of the estimator.
        weight: Of the recipe; joins the blend's own.
    """
    credit = credit or CreditSpec()
    if weight is not None and weight.name is not None:
        credit = replace(credit, weights=(*credit.weights, weight))
    if credit.blend:
        return credit
    name, whiten, given = estimator, credit.whiten, dict(options or {})
    guard = credit.whiten_eps
    if estimator == BATCH_WIDE:
        name, whiten = "dr_grpo", Whiten.ROLLOUT if whiten is Whiten.NONE else whiten
        guard = given.pop("eps", guard)
    blend = (RuleSpec(name, options=given), RuleSpec("given", of=TURNS))
    return replace(credit, blend=blend, whiten=whiten, whiten_eps=guard)


def check_credit(
    credit: CreditSpec,
    estimator: str = "grpo",
    options: Mapping[str, Any] | None = None,
    weight: WeightSpec | None = None,
) -> None:
    """Refuse names that nothing answers to, and terms that would do nothing.

    Raises:
        RecipeError: Says the key, what it may be and what it is.
    """
    if credit.blend and (estimator != "grpo" or options):
        raise RecipeError(
            f"credit.blend takes the place of estimator: leave estimator={estimator} out, or "
            "make it a rule of the blend"
        )
    if credit.blend and not credit.terms():
        raise RecipeError("credit.blend weighs every rule with 0: nobody would learn anything")
    if not credit.least >= 0:
        raise RecipeError(f"credit.least must be at least 0, not {credit.least}")
    ramp = credit.overlong
    if ramp.limit is not None and not 0 < ramp.buffer <= ramp.limit:
        raise RecipeError(
            f"credit.overlong.buffer must lie in (0, {ramp.limit}] tokens, not {ramp.buffer}"
        )
    for i, spec in enumerate(credit.blend):
        _check_rule(f"credit.blend[{i}]", spec)
    for spec in resolve(credit, estimator, options, weight).weights:
        _check_weight(spec, resolve(credit, estimator, options, weight))


def _check_rule(where: str, spec: RuleSpec) -> None:
    known(f"{where}.rule: credit rule", spec.rule, credit_rules)
    if spec.rule == BATCH_WIDE:
        raise RecipeError(
            f"{where}.rule: a rule is given one group, so {BATCH_WIDE} would divide by the group's "
            "deviation, not the batch's; use rule dr_grpo and credit.whiten: rollout, or leave "
            f"the blend out and say estimator: {BATCH_WIDE}"
        )
    known(f"{where}.on: kind of tokens", spec.on, token_kinds)
    check_options(f"{where}.options", credit_rules.get(spec.rule), spec.options)


def _check_weight(spec: WeightSpec, credit: CreditSpec) -> None:
    if spec.name is None:
        return
    known("weight", spec.name, WEIGHTS)
    check_options("weight.options", WEIGHTS[spec.name], spec.options)
    for term in credit.terms():
        if spec.placement is Placement.BEFORE and divides(term.rule, term.options):
            raise RecipeError(
                f"weight.placement=before does nothing under rule {term.rule}: the group's "
                "deviation is multiplied too and divides it out; use placement=after, or a rule "
                "with scale: none"
            )


def known(what: str, name: str, names: object) -> None:
    """Refuse an unknown name, offering the nearest.

    Raises:
        RecipeError: Nothing is called that.
    """
    if name not in names:  # type: ignore[operator]
        raise RecipeError(str(UnknownName(what, name, list(names))))  # type: ignore[call-overload]


def check_options(where: str, fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a function does not have.

    Raises:
        RecipeError: The nearest is offered.
    """
    fn = getattr(fn, "__wrapped__", fn)
    names = [
        p.name
        for p in inspect.signature(fn).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in ("groups", "logp")
    ]
    for name in options:
        known(f"{where} of {fn.__name__}:", name, names)
