"""Every recipe that is named after a method runs, and is what it says: its component matters."""

import asyncio
import dataclasses
import json

import pytest
import torch
from recipe_gradients import (
    Recorded,
    failures,
    gradient,
    last_stage,
    played,
    preferred,
    recorded,
    run,
    small,
)
from vtool.rl.recipe import load_recipe, recipe_names
from vtool.rl.recipe_about import Certainty, Shown
from vtool.rl.stages import Artefacts, stage_recipe
from vtool.rl.trainer import Trainer

from vtool.cli import main
from vtool.errors import RecipeError

PUBLISHED = [
    name for name in recipe_names() if load_recipe(name).about.certainty is not Certainty.OURS
]
VIDEO = ("vital",)
"""Of the moment world, whose policy is its own."""


STRANGE = ("bats", "ciqi", "icrl")
"""Say to the shipped policy what it was not taught to read: it earns nothing, scripts do."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in VIDEO])
def test_a_recipe_runs_and_its_component_matters(runs, name):
    told = run(name, runs / name)
    assert len(told) == 3
    learnt = any(step["grad_norm"] > 0 for step in told if "grad_norm" in step)
    assert learnt is (name not in STRANGE)
    about = load_recipe(name).about
    hot = ("sampling.temperature=1.5",)
    whole = last_stage(small(name, hot), runs / name)
    without = last_stage(small(name, (*hot, *about.ablation)), runs / name)
    if whole.kind == "prefer":
        both = [preferred(r, runs / name / "data") for r in (whole, without)]
    elif name in STRANGE:
        both = [gradient(r, runs / name, [recorded(r, runs / name)]) for r in (whole, without)]
    elif about.shown is Shown.PLAY:
        both = [gradient(r, runs / name, [played(r, runs / name)]) for r in (whole, without)]
    else:
        found = recorded(whole, runs / name)
        both = [gradient(r, runs / name, [found, failures(found)]) for r in (whole, without)]
    assert all(torch.isfinite(g).all() for g in both)
    assert float(both[0].norm()) > 0
    assert both[0].shape != both[1].shape or float((both[0] - both[1]).norm()) > 1e-3 * float(
        both[0].norm()
    )


@pytest.mark.parametrize("name", VIDEO)
def test_a_recipe_about_videos_runs_and_its_component_matters(runs, name):
    few = ("data.options.videos=4",)
    both = []
    for extra in (few, (*few, *load_recipe(name).about.ablation)):
        recipe = small(name, extra, model="tiny/moments")
        last = stage_recipe(recipe, len(recipe.stages) - 1, Artefacts())
        both.append(gradient(last, runs / name, [played(last, runs / name)]))
    assert all(torch.isfinite(g).all() for g in both)
    assert float((both[0] - both[1]).norm()) > 1e-3 * float(both[0].norm()) > 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_says_what_it_is(name):
    about = load_recipe(name).about
    assert about.title
    assert about.source
    assert about.components
    assert about.ablation
    assert about.certainty in (Certainty.CODE, Certainty.PAPER) or about.uncertain


def test_every_method_that_is_promised_has_a_recipe():
    wanted = """grpo dapo dr_grpo gspo cispo loop openthinkimg deepeyes deepeyes_v2 pixel_reasoner
    mini_o3 adareasoner ophiuchus spec_o3 geovista ciqi medvistagym spacetools verltool visionthink
    pyvision arpo portool matchtir toolpo flow_grpo spear arpo_gui gigpo toolrl tgrl otc
    toolorchestra tool_star tapo rapo retool icrl craft_gui cm2 ftrl car tp_llama bats vital"""
    assert set(wanted.split()) == set(PUBLISHED)


def test_recipes_are_listed(capsys):
    with pytest.raises(SystemExit) as end:
        main(["recipes", "--json"])
    assert not end.value.code
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == recipe_names()
    (row,) = [row for row in rows if row["name"] == "spacetools"]
    assert row["kind"] == "rl > sample > imitate > rl"
    assert row["certainty"] == "paper"
    assert "learner.loss.kl_coef" in row["uncertain"]


def test_a_recipe_extends_another(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: dapo\nname: mine\nlearner: {lr: 1.0e-4}\n")
    found, base = load_recipe(mine), load_recipe("dapo")
    assert (found.name, found.learner.lr) == ("mine", 1e-4)
    assert found.learner.loss == base.learner.loss
    assert found.reward == base.reward
    assert found.about.title == ""
    beside = tmp_path / "child.yaml"
    beside.write_text("extends: mine\nlearner: {grad_clip: 0.5}\n")
    assert load_recipe(beside).learner.lr == 1e-4
    mine.write_text("extends: child\n")
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(beside)
    mine.write_text("extends: dapoo\n")
    with pytest.raises(RecipeError, match="did you mean 'dapo'"):
        load_recipe(mine)


def test_masked_attempts_are_not_learnt_from(runs):
    """They count in the statistics of their group: the others' advantages stay."""
    out = runs / "masked"
    with_mask, without = small("mini_o3"), small("mini_o3", ("mask=[]",))
    found = recorded(with_mask, out)
    both = []
    for recipe in (with_mask, without):
        trainer = Trainer(recipe, out)
        trainer.collector = dataclasses.replace(trainer.collector, sampler=Recorded(found))
        got = asyncio.run(trainer.collector.collect(lambda n: [t for t, _ in found], 3, key=(0,)))
        both.append(got.credits)
    over = {
        id(c) for _, g in found for e in g.episodes if e.stop == "max_turns" for c in e.contexts
    }
    assert len(both[1]) - len(both[0]) == len(over) == 3
    kept = {id(c.context): c.laid for c in both[1] if id(c.context) not in over}
    for credit in both[0]:
        assert list(credit.laid) == list(kept[id(credit.context)])
