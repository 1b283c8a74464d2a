"""The seven invariants of composition, over every registered rule, combine and sampler.

They hold whatever is put together; nothing here knows of a recipe.
"""

import asyncio
import dataclasses
import inspect
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sampling import RENDERER, TASK, VOCAB, Unsure, looks, maker, seats
from scripts import toy_episode
from trees import branched, scored
from vtool.rl.aggregate import Denominators, Mode
from vtool.rl.attempts import Attempts, Layout, Seen
from vtool.rl.batch import make_batch, make_sample, plan
from vtool.rl.credit_rules import credit_rules, divides
from vtool.rl.credit_spec import CreditSpec, RuleSpec, check_credit
from vtool.rl.group_advantage import blended_credits, settle
from vtool.rl.loss import policy_loss
from vtool.rl.loss_spec import LossSpec, Objective
from vtool.rl.replay import RescueSpec, SuccessBuffer
from vtool.rl.rollout_sampler import SamplerSpec, Scene, make_sampler
from vtool.rl.sample_weight import WEIGHTS, WeightSpec
from vtool.rl.token_spans import token_kinds

from vtool.codec import Codec
from vtool.errors import RecipeError
from vtool.plain_codec import PlainFamily
from vtool.record import Fork, Group
from vtool.reward import Score, Unscored, combines

RULES = sorted(n for n in credit_rules.names() if not n.startswith("test"))
KINDS = sorted(token_kinds.names())
CODECS: dict[str, Codec] = {"policy": RENDERER.codec}
PAD = RENDERER.codec.token_id("<|image_pad|>")
TOTALS = st.lists(st.sampled_from([0.0, 0.25, 1.0, -1.0, 2.5]), min_size=4, max_size=4)


def group():
    """Three paths of a tree, and one attempt alone."""
    return [*branched().leaves(), toy_episode(RENDERER, turns=2, seed=3)]


def credit(totals, *blend, **spec):
    marks = [scored(t, {0: t, 1: 1 - t}) for t in totals]
    chosen = CreditSpec(blend, **spec)
    return settle(blended_credits(group(), marks, chosen, CODECS), chosen)


def laid(found):
    return [[np.atleast_1d(v).tolist() for v in c.laid] for c in found]


# ------------------------------------------------ 1. what is switched off changes no bit


@pytest.mark.parametrize(("name", "on"), list(itertools.product(RULES, KINDS)))
def test_a_rule_of_weight_nothing_changes_no_bit(name, on):
    totals = [1.0, 0.0, 0.25, 2.5]
    plain = credit(totals, RuleSpec("group"))
    switched_off = credit(totals, RuleSpec("group"), RuleSpec(name, 0.0, on=on))
    assert laid(switched_off) == laid(plain)


@given(TOTALS, st.sampled_from(sorted(WEIGHTS)))
def test_a_weight_that_weighs_one_changes_no_bit(totals, name):
    nothing = {"floor": 1.0} if name == "difficulty" else {"gamma": 0.0}
    plain = credit(totals, RuleSpec("group"))
    assert laid(
        credit(totals, RuleSpec("group"), weights=(WeightSpec(name, options=nothing),))
    ) == (laid(plain))


# ------------------------------------------------ 2. parts are told apart and make the total


def built(name):
    """A combine as it is without settings; a ladder needs its levels."""
    needs = {"ladder": {"levels": {"fine": 4.0, "coarse": 1.0}}, "weighted": {"weights": {}}}
    fn = combines.get(name)
    given_ = dict(needs.get(name, {}))
    for key, wanted in inspect.signature(fn).parameters.items():
        if key == "weights" and wanted.default is inspect.Parameter.empty:
            given_[key] = {"answer": 1.0, "format": 0.5}
    return fn(**given_)


NAMES = ("answer", "answer_f1", "format", "format_short", "format_strict", "format_penalty")
NAMES += ("tool_used", "tool_called", "tools_used_all", "call_ladder", "mask_iou_last", "otc")
NAMES += ("curiosity_tool_rate", "redundancy", "evidence_iou", "economy", "fine", "coarse")
NAMES += ("training_step",)
MARKS = st.fixed_dictionaries({n: st.sampled_from([0.0, 0.5, 1.0]) for n in NAMES})
COMBINES = [n for n in combines.names() if n not in ("turn_sum",)]


@pytest.mark.parametrize("name", COMBINES)
@given(marks=MARKS)
def test_the_total_is_a_function_of_the_parts_that_are_told(name, marks):
    told = built(name)(marks)
    assert dict(told.parts) == marks
    again = built(name)(told.parts)
    assert (again.total, dict(again.turns)) == (told.total, dict(told.turns))


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5))
def test_credit_by_turn_adds_up_to_the_total(turns):
    told = combines.get("turn_sum")(part="call_match")({"call_match": turns})
    assert told.total == pytest.approx(sum(told.turns.values()))
    assert told.total == pytest.approx(sum(turns))


# ------------------------------------------------ 3. what is masked is never read


@pytest.mark.parametrize("name", RULES)
def test_the_advantage_of_a_masked_token_is_never_read(name):
    samples = [
        make_sample(c.context, RENDERER, PlainFamily(), c.laid, whole=c.whole)
        for c in credit([1.0, 0.0, 0.25, 2.5], RuleSpec(name))
    ]
    before = read(samples)
    for sample in samples:
        sample.advantage[~sample.target] = np.nan
    after = read(samples)
    assert (before == after).all()
    assert len(before) == sum(s.target.sum() for s in samples)


def read(samples):
    """All that the loss is given of the advantages."""
    rows = plan([len(s) for s in samples], row_tokens=0, batch_tokens=4096)
    return np.concatenate([make_batch(samples, r, PAD).advantage.numpy() for r in rows])


@pytest.mark.parametrize("objective", list(Objective))
@given(seed=st.integers(0, 99))
def test_a_sequence_without_targets_moves_nothing(objective, seed):
    """The loss of some sequences is the same whether or not a wholly masked one stands beside."""
    mode = Mode.SEQ_MEAN_TOKEN_MEAN
    noise = torch.Generator().manual_seed(seed)
    sequence = torch.tensor([0, 0, 2, 2, 2])
    logp, old, adv = (torch.randn(5, generator=noise) * 0.1 for _ in range(3))
    values = []
    for counts, ids in (([2, 0, 3], sequence), ([2, 3], torch.tensor([0, 0, 1, 1, 1]))):
        report = policy_loss(
            logp,
            old,
            adv,
            sequence=ids,
            denominators=Denominators(mode, np.array(counts)),
            spec=LossSpec(objective=objective),
            generator=torch.Generator().manual_seed(1),
        )
        values.append(float(report.value))
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-9)


# ------------------------------------------------ 4. samplers give what was asked for


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flat", {}),
        ("entropy_branch", {"initial": 1, "threshold": 0.0, "rule": "threshold"}),
        ("tree", {"starts": 1, "fork": 2}),
        ("partial", {"tokens": 4096}),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_every_sampler_gives_exactly_the_declared_number(name, options, size):
    engine = Unsure(looks(2), nats=lambda key: 0.5)
    make = maker(max_turns=4)
    scene = Scene(seats(engine, record_top=2), lambda task, n: make(n), size, vocab=VOCAB)
    found = asyncio.run(make_sampler(SamplerSpec(name, options)).play([TASK], (1,), scene))
    ((task, played),) = found
    assert task is TASK
    assert len(played.episodes) == size
    for episode in played.episodes:
        for context in episode.contexts:
            if isinstance(context.edge, Fork):
                parent = episode.contexts[context.edge.parent]
                assert parent.number < context.number
                assert 0 < context.shared <= len(parent.segments)


# ------------------------------------------------ 5. factors that a rule divides out are known


SCALES = [{}, {"scale": "none"}, {"scale": "std"}, {"scale": "pop"}]


@pytest.mark.parametrize(("name", "options"), list(itertools.product(RULES, SCALES)))
def test_rules_that_divide_a_groups_factor_out_say_so(name, options):
    rule = credit_rules.get(name)
    known = inspect.signature(inspect.unwrap(rule)).parameters
    if not set(options) <= set(known):
        options = {}
    layout = dataclasses.replace(Layout.flat([2, 2, 2]), seen=(Seen(b"start"), Seen(b"hall")) * 3)
    whole = Attempts.of(layout, [3.0, 0.0, 1.0], [1, 0, 0, 2, 0, 0])
    half = Attempts.of(layout, [1.5, 0.0, 0.5], [0.5, 0, 0, 1, 0, 0])
    before, after = rule(whole, **options), rule(half, **options)
    assert np.abs(before).max() > 0
    cancels = bool(np.allclose(before, after, atol=1e-4))
    assert cancels is divides(name, options)
    weight = WeightSpec("difficulty", "before")
    spec = CreditSpec((RuleSpec(name, options=options),), weights=(weight,))
    if divides(name, options):
        with pytest.raises(RecipeError, match=r"does nothing under rule|is given one group"):
            check_credit(spec)
    else:
        check_credit(spec)


# ------------------------------------------------ 6. one attempt alone learns nothing


@pytest.mark.parametrize("name", [n for n in RULES if n != "given"])
@given(total=st.floats(-3, 3))
def test_an_attempt_alone_learns_nothing(name, total):
    alone = [toy_episode(RENDERER, turns=3, seed=1)]
    found = blended_credits(
        alone, [scored(total, {0: total})], CreditSpec((RuleSpec(name),)), CODECS
    )
    assert all(np.abs(v).max() == 0 for c in found for v in map(np.atleast_1d, c.laid))


# ------------------------------------------------ 7. what is replayed knows who wrote it


@given(st.integers(1, 4), st.integers(0, 50))
def test_replayed_tokens_carry_the_log_probs_of_their_behaviour(turns, seed):
    written = toy_episode(RENDERER, turns=turns, seed=seed)
    task_id = written.task_id
    buffer = SuccessBuffer(RescueSpec())
    task = dataclasses.replace(TASK, id=task_id)
    buffer.admit(task, Group(task_id, (written,)), [Score({}, 1.0)])
    failed = tuple(toy_episode(RENDERER, turns=1, seed=seed + n) for n in (1, 2))
    rescued = buffer.substitute(task, Group(task_id, failed), [Score({}, 0.0)] * 2)
    replayed = rescued.episodes[0]
    mine, theirs = (
        make_sample(e.contexts[0], RENDERER, PlainFamily(), [1.0] * len(e.contexts[0].segments))
        for e in (written, replayed)
    )
    assert mine.target.any()
    assert (mine.old_logp[mine.target] == theirs.old_logp[theirs.target]).all()
    assert (mine.old_logp[mine.target] < 0).all()


def test_an_attempt_that_nobody_could_score_is_not_learnt_from():
    marks = [scored(1), scored(0), scored(None), scored(0.5)]
    found = blended_credits(group(), marks, CreditSpec((RuleSpec("group"),)), CODECS)
    assert isinstance(marks[2].total, Unscored)
    assert len(found) == 3
