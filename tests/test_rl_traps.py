"""Traps that released code or a plain reading falls into: each check passes for ours and fails for
the wrong version, which is written out beside it."""

import math

import numpy as np
import pytest
import torch
from vtool.rl.aggregate import Denominators, aggregate
from vtool.rl.attempts import Attempts, Layout
from vtool.rl.credit_rules import credit_rules
from vtool.rl.credit_spec import CreditSpec, check_credit
from vtool.rl.rewards.call_kernels import matched
from vtool.rl.sample_weight import WeightSpec, weighted_advantages

from vtool.errors import RecipeError
from vtool.programs.entropy_branch import Measure, entropy, probability


def attempts(final, turns):
    rows = [t if isinstance(t, list) else [0.0] * t for t in turns]
    return Attempts.of(Layout.flat([len(r) for r in rows]), final, [v for r in rows for v in r])


def by_attempt(values, group):
    return [values[group.layout.attempt == i].tolist() for i in range(len(group.returns))]


def fails(check, wrong):
    """The check tells the wrong version from ours."""
    with pytest.raises(AssertionError):
        check(wrong)


# ---------------------------------------------------------------- MatchTIR: greedy is not Hungarian

SCORES = [[0.9, 0.8], [0.8, 0.0]]


def check_matching(match):
    assert sum(match(SCORES)) == pytest.approx(1.6)


def test_the_best_matching_is_not_the_greedy_one():
    check_matching(matched)
    fails(check_matching, lambda scores: matched(scores, greedy=True))


def check_lone_turn(rule):
    """Attempt 0 alone has a second turn: nothing is known of how others would have fared there."""
    group = attempts([0, 0], [[1.0, 5.0], [0.0]])
    assert by_attempt(rule(group), group)[0][1] == 0.0


def test_a_turn_that_one_attempt_alone_reached_says_nothing():
    turn_group = credit_rules.get("turn_group")
    check_lone_turn(lambda group: turn_group(group, discount=0.0))
    fails(check_lone_turn, lambda group: turn_group(group, discount=0.0, singleton="raw"))


# ---------------------------------------------------------- ARPO: a sum of entropies, not a mean


def check_branching(measure):
    """Twenty tokens, each torn between two of a thousand words, after a turn without any doubt."""
    torn = [((0, math.log(0.5)), (1, math.log(0.5)))] * 20
    change = entropy(torn, 1000, measure) - entropy([((0, 0.0),)] * 20, 1000, measure)
    assert change == pytest.approx(20 * math.log(2) / math.log(1000))
    assert probability(change) == pytest.approx(0.9013, abs=1e-4)


def test_the_released_code_adds_entropies_up():
    check_branching(Measure.SUM)
    fails(check_branching, Measure.MEAN)


# -------------------------------------------------------- Flow-GRPO: attempts or turns are counted


def check_broadcast(rule):
    """One attempt of one turn (right) and one of three turns (wrong): each is half of the group."""
    group = attempts([1, 0], [1, 3])
    found = by_attempt(rule(group), group)
    assert found == [pytest.approx([0.5]), pytest.approx([-0.5] * 3)]


def test_statistics_count_attempts():
    broadcast = credit_rules.get("broadcast")
    check_broadcast(lambda group: broadcast(group, scale="none"))
    fails(check_broadcast, lambda group: broadcast(group, scale="none", stats="turn"))


# -------------------------------------------------------------------------- groups of one


def check_singleton(rule):
    group = attempts([0.7], [2])
    assert by_attempt(rule(group), group) == [[0.0, 0.0]]


@pytest.mark.parametrize("name", ["group", "grpo", "turn_group"])
def test_a_group_of_one_has_no_advantage(name):
    rule = credit_rules.get(name)
    check_singleton(rule)
    fails(check_singleton, lambda group: rule(group, singleton="raw"))


# --------------------------------------------------------- masked sequences and their normaliser


def check_normaliser(mean):
    """Three sequences, the second wholly masked: the mean is over the two that say something."""
    values, sequence = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0, 2, 2])
    assert float(mean(values, sequence, 3)) == pytest.approx(0.5)


@pytest.mark.parametrize("mode", ["seq-mean-token-mean", "seq-mean-token-sum"])
def test_a_masked_sequence_leaves_the_mean(mode):
    def ours(values, sequence, count):
        counts = torch.bincount(sequence, minlength=count).numpy()
        return aggregate(values, sequence, Denominators(mode, counts))

    def counting_zeros(values, sequence, count):
        sums = torch.zeros(count).index_add(0, sequence, values)
        tokens = torch.bincount(sequence, minlength=count).clamp(min=1)
        return (sums if mode.endswith("sum") else sums / tokens).mean()

    check_normaliser(ours)
    fails(check_normaliser, counting_zeros)


# ----------------------------------------------------------------- DGRPO: the weight that cancels


def check_weight(weigh):
    """A group that is nearly solved counts half."""
    returns = np.array([3.0, 3.0, 3.0, 2.0])
    plain = weigh(returns, WeightSpec())
    assert weigh(returns, WeightSpec("difficulty")) == pytest.approx(0.5 * plain, rel=1e-4)


def test_a_groups_weight_must_not_be_divided_out():
    def ours(returns, weight):
        return weighted_advantages(returns, np.ones(4, bool), "grpo", {}, weight)

    def before(returns, weight):
        spec = weight if weight.name is None else WeightSpec(weight.name, "before")
        return weighted_advantages(returns, np.ones(4, bool), "grpo", {}, spec)

    check_weight(ours)
    fails(check_weight, before)
    with pytest.raises(RecipeError, match="does nothing under rule grpo"):
        check_credit(CreditSpec(), "grpo", {}, WeightSpec("difficulty", "before"))
