"""Low-rank adapters, precision and checkpointing: the same policy, for less memory."""

import json

import peft
import pytest
import torch
import toy_policy
import transformers
from safetensors.torch import load_file
from toy_run import toy_recipe
from vtool.rl.learner import Learner, LearnerSettings
from vtool.rl.loss import LossSpec
from vtool.rl.policy import Base, Policy
from vtool.rl.recipe import Recipe
from vtool.rl.train import train
from vtool.rl.weights import open_vlm

from vtool.errors import CheckpointError, RecipeError
from vtool.families.adapters import (
    AdapterSpec,
    add_adapter,
    merged_weights,
    save_adapter,
    without_adapter,
)
from vtool.families.vlm import VLM
from vtool.shipped import shipped

NAMES = ("qwen25_vl", "qwen3_vl")
SPEC = AdapterSpec(rank=4, alpha=8.0)
EVERY_TOKEN = LearnerSettings(lr=1e-3, batch_tokens=256, loss=LossSpec(kl_coef=0.01))
"""With a KL term there is something to learn even where all attempts of a group fare alike."""


def with_adapter(name="qwen3_vl", spec=SPEC, moved=True, seed=0):
    """A model with adapters that already do something."""
    vlm = toy_policy.new_vlm(name)
    torch.manual_seed(seed)
    add_adapter(vlm, spec)
    if moved:
        for key, value in vlm.model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(value, std=0.05)
    return vlm


def logp(vlm, name="qwen3_vl", **options):
    policy = Policy(vlm, **options)
    learner = Learner(policy, LearnerSettings(), 1)
    samples = toy_policy.samples(name)
    with torch.no_grad():
        return torch.cat([policy(b)[0] for b in learner.batches(samples)])


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_adapter_changes_nothing_and_only_it_learns(name):
    plain = logp(toy_policy.new_vlm(name), name)
    vlm = with_adapter(name, AdapterSpec(rank=4, vision=True), moved=False)
    assert torch.equal(logp(vlm, name), plain)
    learning = [n for n, _ in Policy(vlm).named()]
    assert learning
    assert all(".lora_" in n for n in learning)
    assert any("visual" in n for n in learning)
    only_language = [n for n, _ in Policy(vlm, ("vision",)).named()]
    assert not any("visual" in n for n in only_language)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vision", [False, True])
def test_merged_weights_give_the_same_logprobs(name, vision, tmp_path):
    vlm = with_adapter(name, AdapterSpec(rank=4, vision=vision))
    plain = VLM(toy_policy.new_vlm(name).model, vlm.family)
    missing = plain.model.load_state_dict(dict(merged_weights(vlm)), strict=True)
    assert not missing.missing_keys
    assert torch.allclose(logp(plain, name), logp(vlm, name), atol=1e-5)
    assert not torch.allclose(logp(vlm, name), logp(toy_policy.new_vlm(name), name), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_adapter_loads_in_plain_peft_and_here(name, tmp_path):
    toy_policy.new_vlm(name).save(tmp_path / "base")
    vlm = VLM.load(tmp_path / "base")
    torch.manual_seed(1)
    add_adapter(vlm, SPEC)
    for key, value in vlm.model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.05)
    save_adapter(vlm, tmp_path / "adapter", tmp_path / "base")
    ids = torch.arange(7)[None]
    ours = vlm.model(input_ids=ids).logits
    config = transformers.AutoConfig.from_pretrained(tmp_path / "base")
    base = getattr(transformers, config.architectures[0]).from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert torch.allclose(theirs(input_ids=ids).logits, ours, atol=1e-6)
    merged = theirs.merge_and_unload()
    assert torch.allclose(merged(input_ids=ids).logits, ours, atol=1e-5)
    again = VLM.load(tmp_path / "adapter")
    assert torch.equal(again.model(input_ids=ids).logits, ours)


def test_without_the_adapter_the_model_is_its_base():
    vlm = with_adapter()
    base = logp(toy_policy.new_vlm())
    with without_adapter(vlm):
        assert torch.equal(logp(vlm), base)
    policy = Policy(vlm)
    reference = Base(policy)
    assert not list(reference.parameters())
    batch = next(iter(Learner(policy, LearnerSettings(), 1).batches(toy_policy.samples())))
    assert torch.equal(reference(batch)[0], Policy(toy_policy.new_vlm())(batch)[0])
    assert all(p.requires_grad for _, p in policy.named())
    assert policy(batch)[0].requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_gives_the_same_gradients(name):
    found = []
    for checkpointing in (False, True):
        vlm = toy_policy.new_vlm(name)
        policy = Policy(vlm, checkpointing=checkpointing).train()
        learner = Learner(policy, LearnerSettings(), 1)
        for batch in learner.batches(toy_policy.samples(name)):
            policy(batch)[0].sum().backward()
        found.append({n: p.grad.clone() for n, p in policy.named() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert any("visual" in n for n in found[0])
    for key, value in found[0].items():
        assert (value - found[1][key]).norm() <= 1e-4 * value.norm() + 1e-7, key


def test_checkpointing_keeps_less_for_the_backward_pass():
    kept = []
    for checkpointing in (False, True):
        policy = Policy(toy_policy.new_vlm(), checkpointing=checkpointing).train()
        batch = next(iter(Learner(policy, LearnerSettings(), 1).batches(toy_policy.samples())))
        held = {}

        def keep(t, held=held):
            held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            policy(batch)
        parameters = {p.untyped_storage().data_ptr() for p in policy.parameters()}
        kept.append(sum(v for k, v in held.items() if k not in parameters))
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_rollout_and_learner_agree_in_low_precision(precision, tmp_path):
    """Both compute alike: their log-probs differ by rounding, not by another arithmetic."""
    recipe = toy_recipe(
        precision=precision,
        adapter=SPEC if precision == "bfloat16" else None,
        reference=True,
        learner=EVERY_TOKEN,
        steps=1,
    )
    result = train(recipe, tmp_path / "run")
    assert result.metrics["mismatch_max"] < 0.15
    assert result.metrics["mismatch_max"] > 0
    saved = VLM.load(result.model)
    assert saved.dtype is torch.float32


def test_a_run_with_an_adapter_resumes_bit_for_bit_and_ends_in_whole_weights(tmp_path):
    recipe = toy_recipe(adapter=SPEC, steps=3, checkpoint_every=1)
    whole = train(recipe, tmp_path / "whole").model
    import dataclasses

    train(dataclasses.replace(recipe, steps=2), tmp_path / "parts")
    parts = train(recipe, tmp_path / "parts", force=("steps",)).model
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        a, b = load_file(whole / name), load_file(parts / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a), name
    checkpoint = sorted((tmp_path / "whole" / "checkpoints").iterdir())[-1] / "model"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    assert not (checkpoint / "model.safetensors").exists(), "the base is not copied at each step"
    ids = torch.arange(9)[None]
    with torch.no_grad():
        one = VLM.load(whole).model(input_ids=ids).logits
        two = VLM.load(checkpoint).model(input_ids=ids).logits
        three = VLM.load(whole / "adapter").model(input_ids=ids).logits
    assert torch.allclose(one, two, atol=1e-5)
    assert torch.equal(two, three)


def test_an_adapter_can_be_trained_on_with_a_reference(tmp_path):
    recipe = toy_recipe(adapter=SPEC, steps=1, reference=True, learner=EVERY_TOKEN)
    first = train(recipe, tmp_path / "first").model
    second = train(recipe, tmp_path / "second", model=first / "adapter")
    assert second.metrics["trained_tokens"] > 0


def test_bad_adapters_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="rank >= 1"):
        AdapterSpec(rank=0)
    with pytest.raises(RecipeError, match="targets"):
        AdapterSpec(targets=("lm_head",))
    with pytest.raises(RecipeError, match="round"):
        Recipe(precision="bfloat16")
    toy_policy.new_vlm().save(tmp_path / "base")
    vlm = VLM.load(tmp_path / "base")
    add_adapter(vlm, SPEC)
    with pytest.raises(CheckpointError, match="already"):
        add_adapter(vlm, SPEC)
    folder = tmp_path / "adapter"
    save_adapter(vlm, folder, tmp_path / "base")
    config = json.loads((folder / "adapter_config.json").read_text())
    for change, words in (
        ({"use_dora": True}, "use_dora"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 5}, "another model"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=words):
            VLM.load(folder)
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": ""})
    )
    with pytest.raises(CheckpointError, match="to which model"):
        VLM.load(folder)


def test_mixed_precision_keeps_float32_weights(tmp_path):
    vlm = open_vlm(toy_recipe(device="cpu", precision="mixed"), shipped("tiny/weak"))
    assert (vlm.compute, vlm.dtype) == (torch.bfloat16, torch.float32)
