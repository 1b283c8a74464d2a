"""The memory table against what is really there and really kept."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from tiny_vlm import pictures
from vtool.rl.footprint import (
    adapter_parameters,
    cast_bytes,
    estimate,
    text_activations,
    vision_activations,
)
from vtool.rl.learner import LearnerSettings
from vtool.rl.policy import Policy
from vtool.rl.recipe import Recipe, load_recipe, recipe_names
from vtool.rl.shapes import PUBLISHED, Shape, shape_of

from vtool.errors import CheckpointError, VToolError
from vtool.families.adapters import AdapterSpec, add_adapter
from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM

NAMES = ("qwen25_vl", "qwen3_vl")


def model(name, **changes):
    sizes = {"hidden": 128, "layers": 3, "intermediate": 384, "vision_intermediate": 200}
    return VLM.from_config(random_config(name, vocab_size=300, **{**sizes, **changes}))


def shape(vlm):
    return Shape.of(json.loads(vlm.model.config.to_json_string(use_diff=False)))


def kept(vlm, run):
    """Bytes that autograd keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in vlm.parameters()}
    held = {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = run()
    del out
    return sum(v for k, v in held.items() if k not in own)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tie", [True, False])
def test_parameters_are_counted_to_the_last_one(name, tie):
    vlm = model(name, tie=tie)
    found = shape(vlm)
    language = sum(p.numel() for p in vlm.language.parameters())
    head = 0 if tie else vlm.model.lm_head.weight.numel()
    assert found.language == language + head
    assert found.vision == sum(p.numel() for p in vlm.vision.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", [AdapterSpec(rank=3), AdapterSpec(rank=2, vision=True)])
def test_adapters_are_counted_to_the_last_one(name, spec):
    vlm = model(name)
    found = shape(vlm)
    add_adapter(vlm, spec)
    learning = sum(p.numel() for _, p in Policy(vlm).named())
    assert adapter_parameters(found, Recipe(adapter=spec)) == learning


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", [64, 192])
@pytest.mark.parametrize(
    ("precision", "low_rank"),
    [("float32", False), ("float32", True), ("mixed", False), ("mixed", True), ("bfloat16", True)],
)
def test_activations_of_the_language_model_are_told_within_an_eighth(
    name, hidden, precision, low_rank
):
    vlm = model(name, hidden=hidden, layers=6)
    found = shape(vlm)
    spec = AdapterSpec(rank=4) if low_rank else None
    recipe = Recipe(precision=precision, adapter=spec)
    if precision == "bfloat16":
        vlm.to(torch.bfloat16)
    if precision == "mixed":
        vlm.compute = torch.bfloat16
    if spec is not None:
        add_adapter(vlm, spec)
    vlm.train()
    count = 640
    ids = torch.randint(0, 290, (1, count))
    positions = torch.arange(count)[None, None].expand(3, 1, count)
    real = kept(vlm, lambda: vlm.hidden(ids, positions))
    told = text_activations(found, recipe, count) + cast_bytes(found, recipe)
    assert told == pytest.approx(real, rel=0.125)


@pytest.mark.parametrize("name", NAMES)
def test_activations_of_the_vision_tower_are_told_within_a_fifth(name):
    vlm = model(name, vision_layers=6).train()
    patches = pictures(vlm, [(160, 128)])
    count = int(np.prod(patches[0].grid))
    real = kept(vlm, lambda: vlm.encode(patches))
    assert vision_activations(shape(vlm), Recipe(), count, 4) == pytest.approx(real, rel=0.2)
    frozen = Recipe(learner=LearnerSettings(freeze=("vision",)))
    assert vision_activations(shape(vlm), frozen, count, 4) == 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3.755),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.292),
        ("Qwen/Qwen3-VL-2B-Instruct", 2.128),
        ("Qwen/Qwen3-VL-4B-Instruct", 4.438),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.767),
    ],
)
def test_published_models_have_their_published_size(name, billions):
    """Totals as the model cards' safetensors metadata give them."""
    assert PUBLISHED[name].parameters / 1e9 == pytest.approx(billions, abs=0.0006)


def test_each_choice_changes_its_own_row():
    found = PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"]
    plain = Recipe(learner=LearnerSettings(freeze=("vision",)))
    whole = estimate(found, plain, 16_384)
    thrifty = dataclasses.replace(
        plain, learner=dataclasses.replace(plain.learner, checkpointing=True)
    )
    assert estimate(found, thrifty, 16_384).activations < whole.activations / 10
    assert estimate(found, thrifty, 16_384).weights == whole.weights
    half = dataclasses.replace(plain, precision="bfloat16", adapter=AdapterSpec())
    small = estimate(found, half, 16_384)
    assert small.weights < 0.53 * whole.weights
    assert small.optimizer < whole.optimizer / 50
    referred = dataclasses.replace(plain, reference=True)
    assert estimate(found, referred, 1).reference == whole.weights
    assert estimate(found, dataclasses.replace(half, reference=True), 1).reference == 0


@pytest.mark.parametrize("name", [n for n in recipe_names() if n.startswith("qwen")])
def test_real_size_recipes_name_models_whose_shape_is_known(name):
    recipe = load_recipe(name)
    assert shape_of(recipe.model) is not None
    assert recipe.precision in ("mixed", "bfloat16")


def test_a_dry_run_tells_of_a_model_that_is_not_here(monkeypatch):
    """The table before the download: from the published shape, with nothing loaded or played."""
    from vtool.rl import assembly, dry_run

    def missing(name):
        raise CheckpointError(f"no {name} here")

    monkeypatch.setattr(assembly, "find_checkpoint", missing)
    found = json.loads(json.dumps(dry_run.dry_run(load_recipe("qwen25_vl_3b_full"))))
    told = found["estimate"]
    assert not found["model"]["here"]
    # 3.1 of 3.8 billion are trained: as many gradients, twice as many moments.
    assert told["weights_gib"] == pytest.approx(3.755e9 * 4 / 2**30, rel=0.01)
    assert told["optimizer_gib"] == pytest.approx(2 * told["gradients_gib"])
    assert told["learning_gib"] < 80, "fits a large accelerator"
    assert told["most_tokens_per_step"] == 32 * 8 * 16_384
    with pytest.raises(CheckpointError):
        dry_run.dry_run(dataclasses.replace(Recipe(), model="nobody/nothing"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("reward.combine=hierarchi", "did you mean 'hierarchy'"),
        ("reward.parts=[format, anser]", "did you mean 'answer'"),
        ("reward.options={gat: format}", "its options: gate, outcome"),
        ("tools=[zom]", "did you mean 'zoom'"),
        ("data.world=zom", "did you mean 'zoom'"),
        ("data.options={onne: 3}", "did you mean 'one'"),
        ("data.path=nowhere.jsonl", "cannot read nowhere.jsonl"),
    ],
)
def test_a_dry_run_finds_what_is_misspelt_before_the_model_is_here(monkeypatch, change, said):
    from vtool.rl import assembly, dry_run

    def missing(name):
        raise CheckpointError(f"no {name} here")

    monkeypatch.setattr(assembly, "find_checkpoint", missing)
    with pytest.raises(VToolError, match=said):
        dry_run.dry_run(load_recipe("qwen3_vl_4b_lora", [change]))
