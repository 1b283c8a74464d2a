"""Schedules: worked numbers, what may be moved, and a run that goes on as if never stopped."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_run import told, toy_recipe, trained
from vtool.rl.learner_settings import LearnerSettings
from vtool.rl.loss_spec import LossSpec
from vtool.rl.recipe import load_recipe
from vtool.rl.schedule import ScheduleSpec, at_step, scheduled
from vtool.rl.train import train

from vtool.errors import RecipeError

FADE = ScheduleSpec("cosine", start=1.0, end=0.0, over=200)
COME = ScheduleSpec("cosine", start=0.0, end=1.0, over=100)


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        # SPEAR: the bonus factor at t = 0, 50, 100, 200, and beyond.
        (FADE, {0: 1.0, 50: 0.854, 100: 0.5, 200: 0.0, 999: 0.0}),
        # SPEAR: the replay weight with T = 100.
        (COME, {0: 0.0, 50: 0.5, 100: 1.0, 101: 1.0}),
        # ICRL: demonstrations 3, 2, 0.
        (
            ScheduleSpec("steps", at={0: 3, 100: 2, 200: 0}),
            {0: 3, 99: 3, 100: 2, 199: 2, 200: 0, 900: 0},
        ),
        (ScheduleSpec("linear", start=1.0, end=3.0, over=4), {0: 1, 1: 1.5, 4: 3, 9: 3}),
        (ScheduleSpec("constant", start=0.25), {0: 0.25, 9: 0.25}),
    ],
)
def test_worked_numbers(spec, values):
    for step, value in values.items():
        assert spec.value(step) == pytest.approx(value, abs=5e-4)


@given(step=st.integers(0, 500), over=st.integers(1, 400))
def test_a_fading_and_a_coming_cosine_add_up_to_one(step, over):
    fade = ScheduleSpec("cosine", 1.0, 0.0, over).value(step)
    come = ScheduleSpec("cosine", 0.0, 1.0, over).value(step)
    assert fade + come == pytest.approx(1.0)
    assert come == pytest.approx((1 - math.cos(math.pi * min(step, over) / over)) / 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "cosin"}, "did you mean 'cosine'"),
        ({"name": "linear"}, "over >= 1"),
        ({"name": "steps"}, "holds from step 0"),
        ({"name": "steps", "at": {3: 1.0}}, "holds from step 0"),
        ({"name": "constant", "at": {0: 1.0}}, "`at` goes with `steps`"),
    ],
)
def test_what_is_no_schedule_is_refused(options, said):
    with pytest.raises(RecipeError, match=said):
        ScheduleSpec(**options)


def test_a_schedule_moves_a_key_of_the_recipe_and_nothing_else():
    recipe = toy_recipe(
        schedules={
            "learner.loss.entropy_coef": ScheduleSpec("linear", 0.0, 0.2, 2),
            "reward.options.process.economy": ScheduleSpec("steps", at={0: 1.0, 2: 0.0}),
        }
    )
    now, moved = scheduled(recipe, 1)
    assert now.learner.loss.entropy_coef == pytest.approx(0.1)
    assert now.reward.options["process"] == {"evidence_iou": 1.0, "economy": 1.0}
    assert at_step(recipe, 2).reward.options["process"]["economy"] == 0.0
    assert moved["schedule/learner.loss.entropy_coef"] == pytest.approx(0.1)
    assert now.data == recipe.data
    plain = toy_recipe()
    assert at_step(plain, 5) is plain


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("schedules={group_size: {name: constant, start: 2}}", "cannot be scheduled"),
        ("schedules={learner.loss.kl_coef: {name: linear, end: 1, over: 2}}", "reference=true"),
        ("schedules={learner.loss.klcoef: {name: constant}}", "kl_coef"),
        ("schedules={reward.options.a.b: {name: constant}}", "leads nowhere"),
    ],
)
def test_keys_that_nothing_reads_are_refused_before_the_run(override, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe("zoom", [override])


def test_a_run_with_a_schedule_resumes_to_the_same_bits(tmp_path):
    moving = {"learner.loss.entropy_coef": ScheduleSpec("linear", 0.0, 0.5, 3)}
    recipe = toy_recipe(schedules=moving)
    train(recipe, tmp_path / "whole")
    train(toy_recipe(schedules=moving, steps=2), tmp_path / "parts")
    train(recipe, tmp_path / "parts")
    assert trained(tmp_path / "parts") == trained(tmp_path / "whole")
    assert told(tmp_path / "parts") == told(tmp_path / "whole")
    rows = [r["schedule/learner.loss.entropy_coef"] for r in told(tmp_path / "whole")]
    assert rows == pytest.approx([0.0, 0.5 / 3, 1.0 / 3, 0.5])
    other = LearnerSettings(lr=1e-3, batch_tokens=256, loss=LossSpec(clip_low=0.2, clip_high=0.28))
    train(toy_recipe(learner=other), tmp_path / "unmoved")
    assert trained(tmp_path / "unmoved") != trained(tmp_path / "whole")
