"""The seven invariants over whole compositions: blends of any rules about any reward on any kind of
tokens, weights, shared steps, whitening, then any loss under any aggregation.

`test_rl_invariants` asks each room by itself; here whatever may be written into a recipe is put
together at random, on groups of flat attempts, of branches and of both.
"""

import asyncio
import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch
from compositions import (
    CENTRED,
    PAD,
    blends,
    credit,
    few,
    groups,
    laid,
    learnt,
    losses,
    rules,
    sample_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampling import TASK, VOCAB, Unsure, looks, maker, seats
from trees import scored
from vtool.rl.collect import Collected
from vtool.rl.correction import CorrectionSpec
from vtool.rl.credit_rules import divides
from vtool.rl.credit_spec import CreditSpec, OverlongSpec, Shared, Whiten, check_credit
from vtool.rl.imitation_buffer import ImitationBuffer, ImitationSpec
from vtool.rl.loss_spec import Objective
from vtool.rl.rollout_sampler import SamplerSpec, Scene, make_sampler, samplers
from vtool.rl.rollouts import cut_credits
from vtool.rl.run import write_groups
from vtool.rl.sample_weight import Placement, WeightSpec

from vtool.errors import RecipeError
from vtool.message import Author
from vtool.programs.solo import play
from vtool.record import Fork, Group
from vtool.reward import Score, Unscored


@few
@given(groups(), blends(), rules(), losses(), st.booleans())
def test_what_is_switched_off_changes_no_bit_of_the_gradient(group, spec, extra, loss, first):
    """A rule of weight 0, weights that weigh one, tensors that are only told, a KL of price 0."""
    off = dataclasses.replace(extra, weight=0.0)
    nothing = (
        WeightSpec("difficulty", options={"floor": 1.0}),
        WeightSpec("rank_aware", options={"gamma": 0.0}),
    )
    padded = dataclasses.replace(
        spec,
        blend=(off, *spec.blend) if first else (*spec.blend, off),
        weights=(*spec.weights, *nothing),
    )
    with_, without = credit(*group, padded), credit(*group, spec)
    assert laid(with_) == laid(without)
    samples = [sample_of(c) for c in without]
    assume(any(s.target.any() for s in samples))
    plain = dataclasses.replace(loss[0], kl_coef=0.0, entropy_coef=0.0, correction=CorrectionSpec())
    bare = learnt(samples, plain, loss[1], behaviour_logp=None, entropy=None, ref_logp=None)
    told = learnt(samples, dataclasses.replace(plain, kl=loss[0].kl), loss[1])
    assert bare[:2] == told[:2]
    ones = torch.ones(sum(int(s.target.sum()) for s in samples))
    assert learnt(samples, plain, loss[1], weight=ones)[:2] == bare[:2]


@few
@given(groups(), st.lists(rules(), min_size=2, max_size=3), st.sampled_from(list(Shared)))
def test_a_blend_is_the_sum_of_its_rules(group, terms, shared):
    """So what a rule does can be taken out again."""
    whole = credit(*group, CreditSpec(tuple(terms), shared=shared))
    each = [credit(*group, CreditSpec((term,), shared=shared)) for term in terms]
    for number, one in enumerate(whole):
        for i, segment in enumerate(one.context.segments):
            parts = [np.broadcast_to(e[number].laid[i], (len(segment),)) for e in each]
            found = np.broadcast_to(one.laid[i], (len(segment),))
            assert found == pytest.approx(np.sum(parts, axis=0), abs=1e-9)


# ------------------------------------------------------------------ 2. rewards are told apart


@few
@given(groups(), rules(), st.floats(-3, 3))
def test_a_rule_reads_the_reward_that_it_names_and_no_other(group, rule, other):
    """Changing every other term of the score leaves its credit as it is, bit for bit."""
    episodes, marks = group
    named = {"total": ("total",), "turns": ("turns",), "sum": ("total", "turns")}
    reads = named.get(rule.of, (rule.of,))

    def changed(score):
        lost = isinstance(score.total, Unscored)
        total = score.total if "total" in reads or lost else other
        turns = score.turns if "turns" in reads else dict.fromkeys(score.turns, other)
        act = score.parts["act"] if "act" in reads else other
        look = score.parts["look"] if "look" in reads else [other] * len(score.parts["look"])
        return Score({"act": act, "look": look}, total, turns)

    spec = CreditSpec((rule,))
    before = laid(credit(episodes, marks, spec))
    assert laid(credit(episodes, [changed(m) for m in marks], spec)) == before


# ------------------------------------------------------------------ 3. what is masked is not read


@few
@given(groups(), blends(), losses(), st.integers(0, 2**32 - 1))
def test_what_is_masked_changes_no_bit_of_loss_gradient_and_metrics(group, spec, loss, seed):
    """NaN as advantage and log-prob, and other ids, wherever the policy did not write."""
    samples = [sample_of(c) for c in credit(*group, spec)]
    assume(any(s.target.any() for s in samples))
    before = learnt(samples, *loss)
    rng = np.random.default_rng(seed)
    for sample in samples:
        sample.advantage[~sample.target] = np.nan
        sample.old_logp[~sample.target] = np.nan
        free = ~sample.target & (sample.ids != PAD)
        sample.ids[free] = rng.integers(20, 90, int(free.sum()))
    assert learnt(samples, *loss) == before


@few
@given(groups(), blends(), st.floats(-9, 9))
def test_what_nobody_could_score_is_in_no_statistic(group, spec, junk):
    """An attempt without a score: its parts and turns are never read, and nobody learns from it."""
    episodes, marks = group
    for mark in ([junk], [-junk]):
        lost = [m for m in marks if isinstance(m.total, Unscored)]
        assume(lost)
        other = [
            dataclasses.replace(m, parts={"act": mark[0], "look": mark * len(m.turns)})
            if isinstance(m.total, Unscored)
            else m
            for m in marks
        ]
        assert laid(credit(episodes, other, spec)) == laid(credit(episodes, marks, spec))


@few
@given(groups(), blends(whiten=(Whiten.NONE,)), st.randoms(use_true_random=False))
def test_the_order_of_attempts_does_not_matter(group, spec, random):
    episodes, marks = group
    order = list(range(len(episodes)))
    random.shuffle(order)
    one = credit(episodes, marks, spec)
    other = credit([episodes[i] for i in order], [marks[i] for i in order], spec)
    found = {id(c.context): c.laid for c in other}
    assert len(one) == len(other)
    for c in one:
        for mine, theirs in zip(c.laid, found[id(c.context)], strict=True):
            assert np.asarray(mine) == pytest.approx(np.asarray(theirs), abs=1e-9)


# ------------------------------------------------------------------ 4. any sampler, any rule


@functools.cache
def stored(folder):
    """A trace with an attempt of three turns, for groups that begin in its middle."""
    past = asyncio.run(play(maker()(0), seats(Unsure(looks(2))), key=(9, 0)))
    group = Group(TASK.id, (past,))
    write_groups(folder, Collected([TASK], [group], [[Score({"answer": 1.0}, 1.0)]]), 0)
    return str(folder)


@functools.cache
def sampled(name, size, folder):
    settings_ = {
        "entropy_branch": {"initial": 1, "threshold": 0.0, "rule": "threshold"},
        "tree": {"starts": 1, "fork": 2},
        "partial": {"tokens": 4096},
        "prefix": {"trace": stored(folder), "turn": 1},
    }
    engine, make = Unsure(looks(2), nats=lambda key: 0.5), maker(max_turns=4)
    scene = Scene(seats(engine, record_top=2), lambda task, n: make(n), size, vocab=VOCAB)
    made = make_sampler(SamplerSpec(name, settings_.get(name, {})))
    ((_, played),) = asyncio.run(made.play([TASK], (1,), scene))
    return played.episodes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("past")


@pytest.mark.parametrize("name", sorted(n for n in samplers if not n.startswith("test")))
@settings(max_examples=25)
@given(size=st.sampled_from([1, 2, 5]), spec=blends(), data=st.data())
def test_every_rule_works_on_what_every_sampler_gives(name, folder, size, spec, data):
    """The declared number, each with its parent; every token the policy drew is learnt once."""
    episodes = sampled(name, size, folder)
    assert len(episodes) == size
    marks = []
    for episode in episodes:
        turns = len(episode.actions())
        mark = data.draw(st.sampled_from([0.0, 1.0]))
        marks.append(scored(mark, dict.fromkeys(range(turns), mark), act=mark, look=[mark] * turns))
        for context in episode.contexts:
            if isinstance(context.edge, Fork):
                parent = episode.contexts[context.edge.parent]
                assert parent.number < context.number
                assert 0 < context.shared <= len(parent.segments)
    found = cut_credits(episodes, credit(episodes, marks, spec))
    samples = [sample_of(c) for c in found]
    targets = sum(int(s.target.sum()) for s in samples)
    drawn = [
        {id(s): len(s) for s in e.final.segments[handed(e) :] if s.author is Author.POLICY}
        for e in episodes
    ]
    once = dict(itertools.chain.from_iterable(d.items() for d in drawn))
    if spec.shared is Shared.ONCE:
        assert targets == sum(once.values())
    else:
        assert targets == sum(sum(d.values()) for d in drawn)
    assert all(np.isfinite(s.advantage).all() for s in samples)


def handed(episode):
    """Leading segments of the end's context that come from a past."""
    edge = episode.final.edge
    while isinstance(edge, Fork):
        parent = episode.contexts[edge.parent]
        if parent.seat == "given":
            return len(parent.segments)
        edge = parent.edge
    return 0


# ------------------------------------------------------------------ 5. factors that cancel


@settings(max_examples=80)
@given(groups(least=3), blends(whiten=(Whiten.NONE,)))
def test_a_group_weight_that_would_do_nothing_is_refused_and_others_act(group, spec):
    """A weight on the returns: either the recipe is refused, or it scales the credit."""
    weight = WeightSpec("difficulty", Placement.BEFORE, {"top": -9.0, "floor": 0.5})
    bare = dataclasses.replace(
        spec, weights=(), shared=Shared.ONCE, overlong=OverlongSpec(), least=0.0
    )
    weighed = dataclasses.replace(bare, weights=(weight,))
    plain = np.concatenate([np.ravel(v) for c in credit(*group, bare) for v in c.laid] or [[0.0]])
    if any(divides(t.rule, t.options) for t in bare.terms()):
        with pytest.raises(RecipeError, match="does nothing under rule"):
            check_credit(weighed)
        return
    check_credit(weighed)
    half = [np.ravel(v) for c in credit(*group, weighed) for v in c.laid] or [[0.0]]
    assert np.concatenate(half) == pytest.approx(0.5 * plain, abs=1e-9)


# ------------------------------------------------------------------ 6. alone there is nothing


@few
@given(groups(least=2), blends(CENTRED, (Whiten.NONE, Whiten.ROLLOUT)), losses(), st.data())
def test_who_is_judged_alone_learns_nothing(group, spec, loss, data):
    """One attempt of a group may be believed: all credit is exactly 0, and so is the gradient.

    No attempt here meets the very same observation twice; one that does is compared with itself.
    """
    episodes, marks = group
    equal = {"similarity": 1.0}
    blend = tuple(
        dataclasses.replace(t, options={**t.options, **equal}) if t.rule == "anchor_group" else t
        for t in spec.blend
    )
    spec = dataclasses.replace(spec, blend=blend)
    keep = data.draw(st.integers(0, len(marks) - 1))
    alone = [m if i == keep else scored(None) for i, m in enumerate(marks)]
    assume(not isinstance(marks[keep].total, Unscored))
    found = credit(episodes, alone, spec)
    assert all(not np.any(v) for c in found for v in c.laid)
    samples = [sample_of(c) for c in found]
    plain = dataclasses.replace(loss[0], kl_coef=0.0, entropy_coef=0.0)
    assume(plain.objective is not Objective.KL_COV)  # it charges for distance, whatever the credit
    value, slope, _ = learnt(samples, plain, loss[1])
    assert value == 0
    assert not np.frombuffer(slope, np.float32).any()


@few
@given(groups(), blends(("group", "grpo", "dr_grpo", "rloo", "broadcast"), (Whiten.NONE,)))
def test_equals_learn_nothing(group, spec):
    """Rules about whole attempts: where all fare alike, nobody moves, to the last bit."""
    episodes, marks = group
    terms = tuple(
        dataclasses.replace(t, of="total", options={**t.options, "center": True})
        if t.rule == "group"
        else dataclasses.replace(t, of="total")
        for t in spec.blend
    )
    same = [scored(0.1) for _ in marks]
    bare = dataclasses.replace(spec, blend=terms, overlong=OverlongSpec())
    found = credit(episodes, same, bare)
    assert all(not np.any(v) for c in found for v in c.laid)


# ------------------------------------------------------------------ 7. who wrote it is known


@few
@given(groups(), blends(), st.booleans())
def test_every_token_that_is_learnt_carries_the_log_prob_of_its_behaviour(group, spec, again):
    """Fresh or replayed out of the imitation buffer."""
    episodes, marks = group
    found = credit(episodes, marks, spec)
    if again:
        buffer = ImitationBuffer(ImitationSpec(capacity=8, trigger=0.0, max_age=9))
        buffer.add(Group("toy", tuple(episodes)), marks, found, 0)
        found = buffer.take(1)
    for one in found:
        sample = sample_of(one)
        behaviour = one.context.logprobs()
        assert (sample.old_logp[sample.target] == behaviour[sample.target]).all()
        assert (sample.old_logp[sample.target] < 0).all()
        segments = one.context.segments[one.first :]
        spoken = [s for s in segments if s.author is Author.POLICY]
        assert all(s.version is not None and s.sampling is not None for s in spoken)
