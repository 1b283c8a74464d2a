"""A blend of credit rules over a group: rewards, rules, weights, one number a visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vtool.errors import VToolError
from vtool.reward import Score, Unscored

from .advantage import Bools, Floats
from .attempts import SUM, TOTAL, Attempts, attempts_of
from .credit_rules import credit_rules
from .credit_spec import CreditSpec, OverlongSpec, RuleSpec
from .layout import Ground
from .sample_weight import Placement, factors
from .step_advantage import soft_overlong


def totals(scores: Sequence[Score]) -> tuple[Floats, Bools]:
    """Returns of a group, and which of them may be believed; NaN where not."""
    values = [np.nan if isinstance(s.total, Unscored) else s.total for s in scores]
    array = np.asarray(values, np.float64)
    return array, ~np.isnan(array)


def blend_visits(ground: Ground, scores: Sequence[Score], spec: CreditSpec) -> dict[str, Floats]:
    """(V,) credit of every visit, for each kind of tokens that the blend names.

    Args:
        ground: Of the group.
        scores: One an attempt.
        spec: The blend.
    """
    plain = _punished(attempts_of(ground.layout, scores, TOTAL), spec.overlong)
    before = _factor(plain, spec, Placement.BEFORE)
    after = plain.spread(_factor(plain, spec, Placement.AFTER))
    out: dict[str, Floats] = {}
    for term in spec.terms():
        attempts = attempts_of(ground.layout, scores, term.of)
        if term.of in (TOTAL, SUM):
            attempts = _punished(attempts, spec.overlong)
        attempts = _scaled(attempts, before)
        value = term.weight * _ruled(term, attempts) * after
        out[term.on] = out[term.on] + value if term.on in out else value
    if spec.least:
        out = {on: np.where(np.abs(v) < spec.least, 0.0, v) for on, v in out.items()}
    return out


def _ruled(term: RuleSpec, attempts: Attempts) -> Floats:
    value = np.asarray(credit_rules.get(term.rule)(attempts, **term.options), np.float64)
    wanted = attempts.layout.attempt.shape
    if value.shape != wanted or not np.isfinite(value).all():
        raise VToolError(
            f"credit rule {term.rule!r} must give one finite number a visit, shape {wanted}, got "
            f"shape {value.shape}"
        )
    # Whom nobody believes learns nothing, whatever a rule says.
    return np.where(attempts.believed[attempts.layout.attempt], value, 0.0)


def _factor(attempts: Attempts, spec: CreditSpec, placement: Placement) -> Floats:
    out = np.ones(len(attempts.returns))
    for weight in spec.weights:
        if weight.placement is placement:
            logp = attempts.layout.logp
            out = out * factors(attempts.returns, attempts.believed, weight, logp)
    return out


def _scaled(attempts: Attempts, factor: Floats) -> Attempts:
    if (factor == 1.0).all():
        return attempts
    return replace(
        attempts,
        returns=attempts.returns * factor,
        final=attempts.final * factor,
        by_turn=attempts.by_turn * factor[attempts.layout.attempt],
    )


def _punished(attempts: Attempts, spec: OverlongSpec) -> Attempts:
    """Attempts whose return has lost what their length costs."""
    if spec.limit is None:
        return attempts
    if attempts.layout.lengths is None:
        raise VToolError("credit.overlong needs to know how long attempts are (Layout.lengths)")
    penalty = soft_overlong(attempts.layout.lengths, spec.limit, spec.buffer, spec.factor)
    return replace(attempts, returns=attempts.returns + penalty, final=attempts.final + penalty)
