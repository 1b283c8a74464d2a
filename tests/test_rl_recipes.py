"""Every recipe that is named after a method runs, and is what it says: its component matters."""

import pytest
import torch
from recipe_gradients import (
    failures,
    gradient,
    last_stage,
    options_of,
    played,
    preferred,
    run,
    small,
)
from vtool.rl.recipe import load_recipe, recipe_names
from vtool.rl.recipe_about import Certainty, Shown

PUBLISHED = [
    name
    for name in recipe_names()
    if load_recipe(name).about.certainty is not Certainty.OURS and name != "vital"
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_runs_and_its_component_matters(runs, name):
    told = run(name, runs / name)
    assert len(told) == 3
    assert any(step["grad_norm"] > 0 for step in told if "grad_norm" in step)
    about = load_recipe(name).about
    hot = ("sampling.temperature=1.5",)
    whole = last_stage(small(name, hot), runs / name)
    without = last_stage(small(name, (*hot, *about.ablation)), runs / name)
    if whole.kind == "prefer":
        both = [preferred(r, runs / name / "data") for r in (whole, without)]
    elif about.shown is Shown.PLAY:
        both = [gradient(r, runs / name, [played(r, runs / name)]) for r in (whole, without)]
    else:
        found = played(without, runs / name)
        both = [gradient(r, runs / name, [found, failures(found)]) for r in (whole, without)]
    assert all(torch.isfinite(g).all() for g in both)
    assert float(both[0].norm()) > 0
    assert both[0].shape != both[1].shape or float((both[0] - both[1]).norm()) > 1e-3 * float(
        both[0].norm()
    )
