"""Anything that may stand in a recipe, put together at random: groups, blends, rules, losses."""

import functools

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from sampling import RENDERER
from scripts import toy_episode
from trees import branched, scored
from vtool.rl.aggregate import Denominators, Mode
from vtool.rl.batch import make_batch, make_sample, plan
from vtool.rl.correction import CorrectionSpec, Level
from vtool.rl.credit_rules import BATCH_WIDE, credit_rules
from vtool.rl.credit_spec import CreditSpec, OverlongSpec, RuleSpec, Shared, Whiten
from vtool.rl.group_advantage import blended_credits, settle
from vtool.rl.kl import KL_ESTIMATORS
from vtool.rl.loss import policy_loss
from vtool.rl.loss_spec import Band, CovSpec, LossSpec, Objective
from vtool.rl.sample_weight import WEIGHTS, Placement, WeightSpec
from vtool.rl.token_spans import token_kinds

from vtool.plain_codec import PlainFamily

CODECS = {"policy": RENDERER.codec}
PAD = RENDERER.codec.token_id("<|image_pad|>")
RULES = sorted(n for n in credit_rules if n != BATCH_WIDE)
CENTRED = [n for n in RULES if n != "given"]
OPTIONS = {
    "group": {
        "scale": ["std", "pop", "none"],
        "baseline": ["mean", "loo"],
        "center": [True, False],
    },
    "grpo": {"scale": ["std", "pop", "none"]},
    "turn_group": {"discount": [0.0, 0.9, 1.0], "scale": ["std", "none"], "min_holders": [2, 3]},
    "anchor_group": {"discount": [0.95], "scale": ["std", "none"], "similarity": [1.0, 0.8]},
    "fork_group": {
        "gamma": [1.0, 0.95],
        "pool": ["mean", "max"],
        "scale": ["none", "std"],
        "max_turns": [None, 3],
    },
    "broadcast": {
        "stats": ["rollout", "turn"],
        "scale": ["std", "none"],
        "baseline": ["mean", "loo"],
    },
}
"""What is drawn for each rule; rules of others run with their defaults."""
few = settings(max_examples=80)


# ------------------------------------------------------------------ what is drawn


@functools.cache
def attempts():
    """Seven attempts: two flat ones, the three leaves of a tree, one of one turn, one of four."""
    flat = [toy_episode(RENDERER, turns=n, seed=n) for n in (2, 3)]
    more = [toy_episode(RENDERER, turns=n, seed=9 + n) for n in (1, 4)]
    return (*flat, *branched((2, 2)).leaves(), *more)


@st.composite
def groups(draw, least=2):
    """Some attempts with scores: totals, rewards by turn, one part for the attempt, one a turn."""
    count = len(attempts())
    chosen = draw(st.lists(st.sampled_from(range(count)), min_size=least, max_size=5, unique=True))
    episodes = [attempts()[i] for i in sorted(chosen)]
    mark = st.sampled_from([0.0, 0.25, 1.0, -1.0, 2.5])
    marks = []
    for episode in episodes:
        turns = len(episode.actions())
        by_turn = dict(enumerate(draw(st.lists(mark, min_size=turns, max_size=turns))))
        look = draw(st.lists(mark, min_size=turns, max_size=turns))
        lost = draw(st.integers(0, 7)) == 0
        total = None if lost else draw(mark)
        marks.append(scored(total, by_turn, act=draw(mark), look=look))
    return episodes, marks


@st.composite
def rules(draw, names=tuple(RULES)):
    name = draw(st.sampled_from(names))
    options = {k: draw(st.sampled_from(v)) for k, v in OPTIONS.get(name, {}).items()}
    of = draw(st.sampled_from(["total", "turns", "sum", "act", "look"]))
    weight = draw(st.sampled_from([0.5, 1.0, -1.0, 2.0]))
    return RuleSpec(name, weight, of, draw(st.sampled_from(sorted(token_kinds))), options)


WEIGHED = st.lists(
    st.builds(WeightSpec, st.sampled_from(sorted(WEIGHTS)), st.just(Placement.AFTER)), max_size=2
)


@st.composite
def blends(draw, names=tuple(RULES), whiten=tuple(Whiten)):
    """A whole credit rule, as a recipe might have it."""
    ramp = OverlongSpec(limit=400, buffer=300, factor=0.5)
    return CreditSpec(
        tuple(draw(st.lists(rules(names), min_size=1, max_size=3))),
        tuple(draw(WEIGHED)),
        draw(st.sampled_from(list(Shared))),
        draw(st.sampled_from(whiten)),
        overlong=draw(st.sampled_from([OverlongSpec(), ramp])),
        least=draw(st.sampled_from([0.0, 0.01])),
    )


@st.composite
def losses(draw):
    """A loss and a mean that belong together."""
    objective = draw(st.sampled_from(list(Objective)))
    mode = Mode.SEQ_MEAN_TOKEN_MEAN if objective.by_sequence else draw(st.sampled_from(list(Mode)))
    spec = LossSpec(
        objective=objective,
        clip_low=draw(st.sampled_from([0.1, 0.2])),
        clip_high=draw(st.sampled_from([0.2, 0.28])),
        dual_clip=draw(st.sampled_from([None, 3.0, 10.0])),
        band=draw(st.sampled_from(list(Band))),
        kl=draw(st.sampled_from(sorted(KL_ESTIMATORS))),
        kl_coef=draw(st.sampled_from([0.0, 0.1])),
        entropy_coef=draw(st.sampled_from([0.0, 0.01])),
        cov=CovSpec(ratio=0.1, low=0.0, high=9.0),
        correction=CorrectionSpec(draw(st.sampled_from(list(Level))), veto=1e-4),
    )
    return spec, mode


# ------------------------------------------------------------------ from groups to gradients


def credit(episodes, marks, spec):
    return settle(blended_credits(episodes, marks, spec, CODECS), spec)


def laid(found):
    """Bits of all credits."""
    return [[np.asarray(v, np.float64).tobytes() for v in c.laid] for c in found]


def sample_of(one):
    return make_sample(
        one.context, RENDERER, PlainFamily(), one.laid, whole=one.whole, given=one.given
    )


def learnt(samples, spec, mode, **changed):
    """Loss, gradient by the log-prob of every token, and metrics.

    The weights that are trained have moved a little since the tokens were drawn, and the
    reference stands elsewhere; both are functions of the tokens, so that runs can be compared.
    """
    rows = plan([len(s) for s in samples], row_tokens=0, batch_tokens=10**6)
    batch = make_batch(samples, [row for micro in rows for row in micro], PAD)
    count = torch.arange(len(batch.targets))
    logp = (batch.proximal + 0.3 * torch.sin(count + batch.targets)).requires_grad_()
    length = 64.0 if mode is Mode.SEQ_MEAN_TOKEN_SUM_NORM else None
    targets = [int(s.target.sum()) for s in samples]
    given_ = {
        "entropy": batch.old_logp.abs() + 0.1 * logp,
        "ref_logp": batch.old_logp - 0.2 * torch.cos(count),
        "recomputed_logp": batch.old_logp.clone(),
        "behaviour_logp": batch.old_logp + 0.05 * torch.sin(count),
        "generator": torch.Generator().manual_seed(3),
        **changed,
    }
    report = policy_loss(
        logp,
        batch.proximal,
        batch.advantage,
        sequence=batch.sequence,
        denominators=Denominators(mode, np.array(targets), length),
        spec=spec,
        **given_,
    )
    (slope,) = torch.autograd.grad(report.value, logp)
    return float(report.value.detach()), slope.numpy().tobytes(), report.metrics


# ------------------------------------------------------------------ 1. what is off changes no bit
