"""Difficulty weights, and the trap in which they do nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.rl.advantage import ESTIMATORS
from vtool.rl.recipe import load_recipe
from vtool.rl.sample_weight import Placement, WeightSpec, difficulty, weighted_advantages

from vtool.errors import RecipeError

BEFORE = WeightSpec("difficulty", Placement.BEFORE)
AFTER = WeightSpec("difficulty")
ALL = np.ones(4, bool)


@pytest.mark.parametrize(
    ("mean", "weight"), [(-1, 1), (0.5, 1), (1, 1), (1.5, 0.75), (2, 0.5), (3, 0.5)]
)
def test_worked_numbers_of_dgrpo(mean, weight):
    assert difficulty([mean - 1, mean + 1]) == pytest.approx(weight)


def test_masked_returns_say_nothing_about_difficulty():
    assert difficulty([1.5, np.nan], [True, False]) == pytest.approx(0.75)
    assert difficulty([np.nan], [False]) == 1.0


def test_the_cancellation_trap():
    easy = np.array([2.0, 1.5, 1.5, 1.0])  # mean 1.5: weight .75
    plain = {n: weighted_advantages(easy, ALL, n, {}, WeightSpec()) for n in ESTIMATORS}
    for name in ("dr_grpo", "rloo"):
        for spec in (BEFORE, AFTER):
            got = weighted_advantages(easy, ALL, name, {}, spec)
            assert got == pytest.approx(0.75 * plain[name])
    # Divided by the deviation, a factor on the returns is gone; on the advantages it stays.
    lost = weighted_advantages(easy, ALL, "grpo", {}, BEFORE)
    assert lost == pytest.approx(plain["grpo"], abs=1e-5)
    kept = weighted_advantages(easy, ALL, "grpo", {}, AFTER)
    assert kept == pytest.approx(0.75 * plain["grpo"])
    assert abs(kept[0] - plain["grpo"][0]) > 0.1


def test_a_recipe_in_which_the_weight_does_nothing_is_refused():
    change = "weight={name: difficulty, placement: before}"
    with pytest.raises(RecipeError, match="divides it out"):
        load_recipe("zoom", [change])
    load_recipe("zoom", [change, "estimator=dr_grpo"])
    load_recipe("zoom", [change, "estimator_options={scale: none}"])
    load_recipe("zoom", ["weight={name: difficulty}"])
    with pytest.raises(RecipeError, match="did you mean 'difficulty'"):
        load_recipe("zoom", ["weight={name: dificulty}"])


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.sampled_from(sorted(ESTIMATORS)))
def test_without_a_weight_nothing_changes_and_weights_are_bounded(values, name):
    returns, believed = np.array(values), np.ones(len(values), bool)
    plain = weighted_advantages(returns, believed, name, {}, WeightSpec())
    assert plain.tobytes() == ESTIMATORS[name](returns, believed).tobytes()
    assert 0.5 <= difficulty(returns) <= 1.0
    after = weighted_advantages(returns, believed, name, {}, AFTER)
    assert (np.sign(after) == np.sign(plain)).all()
