"""Promises of the advantage kernels: worked numbers, sums, symmetries, dead groups."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.rl.advantage import (
    ESTIMATORS,
    AdvantageError,
    dead_groups,
    dr_grpo,
    group_baseline,
    group_norm,
    reinforce_pp_baseline,
    rloo,
)
from vtool.rl.fork_advantage import (
    blend,
    fork_relative,
    format_bound,
    leaves,
    step_values,
    trajectory_relative,
)
from vtool.rl.step_advantage import discounted_returns, gigpo, soft_overlong

ROOMS = ("advantage", "fork_advantage", "step_advantage")
GOLDEN = json.loads((Path(__file__).parent / "golden/mechanisms_section0.json").read_text())
ROWS = [row for row in GOLDEN["rows"] if row["call"].split(":")[0] in ROOMS]

returns = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=12)
spread = returns.filter(lambda r: len(r) > 1 and np.ptp(r) > 0.1)
kernels = pytest.mark.parametrize("name", sorted(ESTIMATORS))


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_worked_numbers(row):
    room, name = row["call"].split(":")
    kernel = getattr(importlib.import_module(f"vtool.rl.{room}"), name)
    np.testing.assert_allclose(kernel(**row["inputs"]), row["expected"], rtol=0, atol=1e-12)


@kernels
@given(values=returns)
def test_sum_is_zero_and_nothing_is_nan(name, values):
    out = ESTIMATORS[name](values)
    assert np.isfinite(out).all()
    assert abs(out.sum()) < 1e-6


@kernels
@given(value=st.floats(-1e90, 1e90), count=st.integers(1, 9))
def test_constant_group_is_exactly_zero(name, value, count):
    assert (ESTIMATORS[name]([value] * count) == 0).all()


@kernels
@given(values=returns, data=st.data())
def test_permutation_equivariance(name, values, data):
    order = data.draw(st.permutations(range(len(values))))
    out = ESTIMATORS[name](values)
    np.testing.assert_allclose(ESTIMATORS[name](np.array(values)[order]), out[order], atol=1e-9)


@given(values=spread, scale=st.floats(0.5, 50), shift=st.floats(-5, 5))
def test_normalised_ignores_scale_and_shift(values, scale, shift):
    moved = np.array(values) * scale + shift
    for kind in ("std", "pop"):
        expected = group_norm(values, scale=kind, eps=0.0)
        np.testing.assert_allclose(group_norm(moved, scale=kind, eps=0.0), expected, atol=1e-7)


@given(values=spread)
def test_rloo_is_dr_grpo_times_g_over_g_minus_one(values):
    g = len(values)
    np.testing.assert_allclose(rloo(values), dr_grpo(values) * g / (g - 1), atol=1e-12)
    others = [np.mean(values[:i] + values[i + 1 :]) for i in range(g)]
    np.testing.assert_allclose(rloo(values), np.array(values) - others, atol=1e-9)


@kernels
@given(values=returns, junk=st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 3.0]))
def test_masked_rollout_gets_zero_and_is_never_read(name, values, junk):
    with_junk, mask = [*values, junk], [True] * len(values) + [False]
    out = ESTIMATORS[name](with_junk, mask)
    assert out[-1] == 0
    np.testing.assert_array_equal(out[:-1], ESTIMATORS[name](values))


@kernels
def test_group_labels_keep_groups_apart(name):
    both = ESTIMATORS[name]([1, 0, 5, 9, 7], groups=[3, 3, 1, 1, 1])
    if name != "reinforce_pp_baseline":
        apart = [*ESTIMATORS[name]([1, 0]), *ESTIMATORS[name]([5, 9, 7])]
        np.testing.assert_allclose(both, apart)
    assert abs(both[:2].sum()) < 1e-9
    assert abs(both[2:].sum()) < 1e-9


@kernels
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_unusable_return_names_its_index(name, bad):
    with pytest.raises(AdvantageError, match="return 2 is"):
        ESTIMATORS[name]([1.0, 0.0, bad])


@pytest.mark.parametrize("wrong", [{"mask": [True]}, {"groups": [0, 0, 1]}])
def test_shapes_must_agree(wrong):
    with pytest.raises(AdvantageError, match="must have shape"):
        group_norm([1.0, 0.0], **wrong)


def test_all_masked_is_all_zero():
    for kernel in ESTIMATORS.values():
        assert (kernel([1.0, np.nan], [False, False]) == 0).all()


def test_whitened_batch_has_unit_deviation():
    rng = np.random.default_rng(0)
    out = reinforce_pp_baseline(rng.normal(size=64), groups=np.repeat(np.arange(8), 8))
    assert out.std(ddof=1) == pytest.approx(1.0, abs=1e-6)


def test_group_of_one_is_dead_and_masked_members_do_not_revive_it():
    assert dead_groups([1.0, 5.0], [True, False]).tolist() == [True, True]
    assert dead_groups([1.0, 0.0]).tolist() == [False, False]


@pytest.mark.parametrize(
    ("values", "eps"), [([1.0, 1.0, 1.0], 1e-6), ([1.0, 1.0, 1.0], 0.0), ([0.3, 0.1 + 0.2], 1e-6)]
)
def test_equals_without_a_baseline_are_not_divided_by_the_guard(values, eps):
    assert not group_baseline(values, center=False, eps=eps).any()
    assert group_baseline(values, center=False, scale="none").tolist() == values


def test_disabled_step_term_changes_no_bit():
    episode = np.array([0.1, -0.3, 0.7])
    assert (gigpo(episode, [1, 2, 3], [0, 0, 0], weight=0.0) == episode).all()
    with pytest.raises(AdvantageError, match="step"):
        gigpo(episode, [1.0], [0])


def test_discount_and_ramp_refuse_nonsense():
    with pytest.raises(AdvantageError, match="gamma"):
        discounted_returns([1.0], 1.5)
    with pytest.raises(AdvantageError, match="rewards"):
        discounted_returns([np.nan], 0.9)
    with pytest.raises(AdvantageError, match="buffer"):
        soft_overlong([1], 10, 0)


@st.composite
def trees(draw):
    size = draw(st.integers(1, 14))
    parent = [-1] + [draw(st.integers(-1, i - 1)) for i in range(1, size)]
    outcome = draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=size, max_size=size))
    return np.array(parent), np.array(outcome)


@given(tree=trees(), gamma=st.floats(0.5, 1.0), pool=st.sampled_from(["mean", "max"]))
def test_siblings_sum_to_zero_and_only_children_get_zero(tree, gamma, pool):
    parent, outcome = tree
    fork = fork_relative(parent, step_values(parent, outcome, gamma=gamma, pool=pool))
    for p in np.unique(parent):
        siblings = fork[parent == p]
        assert abs(siblings.sum()) < 1e-9
        if siblings.size == 1:
            assert siblings[0] == 0


@given(tree=trees())
def test_only_leaves_are_read(tree):
    parent, outcome = tree
    noisy = np.where(leaves(parent), outcome, np.nan)
    np.testing.assert_array_equal(
        step_values(parent, noisy, gamma=0.9), step_values(parent, outcome, gamma=0.9)
    )


@given(tree=trees())
def test_flat_tree_is_plain_group_centring(tree):
    _, outcome = tree
    flat = np.full(len(outcome), -1)
    expected = dr_grpo(outcome)
    np.testing.assert_allclose(trajectory_relative(flat, outcome, scale="none"), expected)
    np.testing.assert_allclose(
        fork_relative(flat, step_values(flat, outcome, gamma=0.9)), expected, atol=1e-12
    )


def test_failed_trajectory_leaves_the_tree():
    parent, outcome = [-1, 0, 0, 0], [np.nan, 1.0, 0.0, np.nan]
    mask = [True, True, True, False]
    values = step_values(parent, outcome, gamma=1.0, mask=mask)
    assert values[0] == 0.5
    assert np.isnan(values[3])
    assert fork_relative(parent, values).tolist() == [0.0, 0.5, -0.5, 0.0]
    assert trajectory_relative(parent, outcome, scale="none", mask=mask)[3] == 0


def test_bounded_bonus_never_beats_the_outcome():
    bound = format_bound(0.95, 3)
    values = step_values([-1, -1], [1.0, 0.0], gamma=0.95, bonus=[-bound, bound])
    assert values[0] > values[1]


@pytest.mark.parametrize(
    ("parent", "outcome", "match"),
    [
        ([0], [1.0], "follow its parent"),
        ([-1, 2, 0], [1.0] * 3, "follow"),
        ([-1], [np.nan], "leaf"),
    ],
)
def test_trees_that_do_not_exist(parent, outcome, match):
    with pytest.raises(AdvantageError, match=match):
        step_values(parent, outcome, gamma=0.9)


def test_blend_ends_are_exact():
    a, b = np.array([0.1, 0.2]), np.array([0.3, -0.7])
    assert (blend(a, b, 1.0) == a).all()
    assert (blend(a, b, 0.0) == b).all()
    with pytest.raises(AdvantageError, match="weight"):
        blend(a, b, 1.5)
