"""Checkpoints: what we write plain transformers reads, and what we refuse to read."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from pictures import textured
from safetensors.torch import load_file, save_file
from tiny_vlm import NAMES, batch, build, conversation, library_logits, pictures, shared
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from vtool.errors import CheckpointError, UnknownName
from vtool.families import FAMILIES, family, family_of_type
from vtool.families.folder import check_folder, family_of_folder
from vtool.families.pixels import smart_resize
from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=NAMES)
def saved(request, tmp_path_factory):
    vlm = shared(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    vlm.save(folder)
    return vlm, folder


@pytest.fixture
def folder(tmp_path):
    shared("qwen3_vl").save(tmp_path)
    return tmp_path


def edit(path, change):
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def test_plain_transformers_loads_what_we_save(saved):
    vlm, folder = saved
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(plain) is type(vlm.model)
    a, b = pictures(vlm, [(64, 64), (96, 32)])
    ids, positions, mask = batch(vlm, [conversation(vlm, [(3, [a, b], 4)])])
    want = library_logits(VLM(plain, vlm.family), ids, mask, [a, b])
    got = vlm.head(vlm.hidden(ids, positions, vision=vlm.encode([a, b])))
    assert (got - want).abs().max() <= 1e-5


def test_plain_transformers_cuts_pictures_to_the_same_grid(saved):
    vlm, folder = saved
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for size in [(200, 100), (30, 20), (500, 400)]:
        out = processor(images=[textured(*size)], return_tensors="np")
        assert tuple(out["image_grid_thw"][0]) == vlm.family.patches(textured(*size)).grid
    assert tuple(processor.image_mean) == vlm.family.spec.mean
    assert tuple(processor.image_std) == vlm.family.spec.std


def test_we_load_what_we_save(saved):
    vlm, folder = saved
    again = VLM.load(folder)
    assert again.family == vlm.family
    assert not again.training
    ours, theirs = vlm.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_half_precision_leaves_the_rotary_frequencies_alone(saved):
    vlm, folder = saved
    made = VLM.from_config(vlm.model.config, dtype=torch.bfloat16)
    for half in (VLM.load(folder, dtype=torch.bfloat16), made):
        assert half.dtype is torch.bfloat16
        assert torch.equal(half.language.rotary_emb.inv_freq, vlm.language.rotary_emb.inv_freq)
    vlm.model.config.dtype = torch.float32


def test_pickles_next_to_good_weights_are_refused(folder):
    for name in ("pytorch_model.bin", "extra.PT", "optimizer.pth", "a.pkl", "b.ckpt"):
        (folder / name).write_bytes(b"\x80\x04N.")
        with pytest.raises(CheckpointError, match="can run code"):
            VLM.load(folder)
        (folder / name).unlink()
    VLM.load(folder)


def test_folders_without_safetensors_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        VLM.load(folder)


@pytest.mark.parametrize("where", ["top", "nested"])
@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"]
)
def test_code_from_a_checkpoint_is_refused(folder, name, where):
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    hook = {"auto_map": {"AutoConfig": "evil.Config"}}
    path = folder / name
    path.write_text(path.read_text() if path.exists() else "{}")
    edit(path, lambda body: body.update(hook if where == "top" else {"vision_config2": [hook]}))
    with pytest.raises(CheckpointError, match="auto_map"):
        VLM.load(folder)


@pytest.mark.parametrize("shard", ["../x.safetensors", "/tmp/x.safetensors", "model.bin"])
def test_an_index_may_not_point_elsewhere(folder, shard):
    index = {"metadata": {}, "weight_map": {"lm_head.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no safetensors next to it"):
        VLM.load(folder)


def test_a_missing_shard_is_named(folder):
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"two\.safetensors, which is missing"):
        VLM.load(folder)


def test_sharded_weights_are_read(folder):
    (folder / "model.safetensors").unlink()
    shared("qwen3_vl").model.save_pretrained(folder, max_shard_size="400KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    ours, theirs = shared("qwen3_vl").state_dict(), VLM.load(folder).state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


KEY = "model.visual.blocks.0.attn.qkv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(KEY), f"missing keys: {KEY}"),
        (lambda t: t.update({"model.extra.weight": torch.zeros(2)}), "unexpected keys"),
        (lambda t: t.update({KEY: torch.zeros(3, 3)}), "cannot be loaded"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        VLM.load(folder)


def test_damaged_files_are_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        VLM.load(folder)
    (folder / "config.json").write_text("[1, 2")
    with pytest.raises(CheckpointError, match="read as JSON"):
        VLM.load(folder)
    (folder / "config.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="JSON object"):
        VLM.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        VLM.load(folder)


def test_another_architecture_is_refused_by_name(folder):
    edit(folder / "config.json", lambda body: body.update(model_type="qwen2_vl"))
    with pytest.raises(UnknownName, match="did you mean 'qwen2_5_vl'"):
        VLM.load(folder)


@pytest.mark.parametrize(
    ("processor", "low", "high"),
    [
        ({"min_pixels": 3136, "max_pixels": 200_704}, 3136, 200_704),
        ({"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}}, 65_536, 16_777_216),
        ({}, 65_536, 16_777_216),
    ],
)
def test_pixel_bounds_are_read_in_both_spellings(folder, processor, low, high):
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    spec = family_of_folder(folder).spec
    assert (spec.min_pixels, spec.max_pixels, spec.patch) == (low, high, 8)
    (folder / "preprocessor_config.json").unlink()
    assert family_of_folder(check_folder(folder)).spec.max_pixels == 16_777_216


def test_seconds_are_scaled_as_the_checkpoint_says(tmp_path):
    build("qwen25_vl").save(tmp_path)
    edit(tmp_path / "config.json", lambda b: b["vision_config"].update(tokens_per_second=5))
    block = family_of_folder(tmp_path).block(0, (2, 4, 4), seconds=0.5)
    assert block.step == 2.5


def test_published_geometry():
    specs = {name: family(name).spec for name in NAMES}
    assert (specs["qwen25_vl"].factor, specs["qwen3_vl"].factor) == (28, 32)
    assert smart_resize((1000, 1000), specs["qwen3_vl"]) == (992, 992)


def test_unknown_families_are_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'qwen3_vl'"):
        family("qwen3vl")
    with pytest.raises(UnknownName):
        family_of_type("llava")
    with pytest.raises(UnknownName):
        random_config("llava", vocab_size=10)
    assert [f.name for f in FAMILIES.values()] == list(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_small_configurations_spread_their_weights(name):
    config = random_config(name, vocab_size=100, layers=3, eos_id=2, pad_id=1)
    model = build(name, layers=3).requires_grad_(False).model
    assert abs(float(model.lm_head.weight.std()) - 0.08) < 0.01
    assert abs(float(model.model.visual.blocks[0].attn.qkv.weight.std()) - 0.08) < 0.01
    assert sum(config.text_config.rope_parameters["mrope_section"]) == 16
    assert len(model.model.language_model.layers) == 3
    assert (config.eos_token_id, config.pad_token_id) == (2, 1)
    assert config.text_config.pad_token_id is None
    ids = {config.image_token_id, config.video_token_id, config.vision_start_token_id}
    assert ids == {96, 97, 98}


def test_the_numpy_half_loads_no_torch():
    code = (
        "import sys, vtool.families as f, vtool.families.folder, vtool.families.text, "
        "vtool.families.tiny_configs, vtool.families.spans;"
        "f.family('qwen3_vl').shown_size((640, 480));"
        "f.family('qwen25_vl').positions(9, [f.Block(2, (1, 2, 2))]);"
        "bad = {'torch', 'transformers', 'tokenizers', 'cv2'} & set(sys.modules);"
        "print(sorted(bad))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_family_cuts_as_the_module_does():
    fam = family("qwen3_vl")
    patches = fam.patches(textured(300, 200))
    assert patches.shown == fam.shown_size((300, 200)) == (320, 224)
    assert patches.tokens(fam.spec.merge) == 70
    assert patches.data.dtype == np.uint8
