"""The faster walk through the vision towers equals the library's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vlm import NAMES, build, pictures, shared

from vtool.families.encoding import encode_by_library
from vtool.families.pixels import normalise
from vtool.families.spans import plan
from vtool.families.vlm import VLM

torch.set_num_threads(1)
SIZES = {
    "one": [(64, 64)],
    "equal": [(64, 64)] * 3,
    "turned": [(96, 32), (32, 96)],
    "mixed": [(64, 64), (96, 32), (64, 64), (48, 80), (160, 144), (32, 96)],
    "thin": [(16, 160), (16, 16)],
}


def by_library(vlm, patches):
    raw = torch.cat([torch.from_numpy(p.data) for p in patches])
    values = normalise(raw, vlm.family.spec)
    return encode_by_library(vlm.vision, values, [p.grid for p in patches])


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_features_equal_the_librarys(name, sizes):
    vlm = shared(name)
    patches = pictures(vlm, sizes)
    ours = vlm.encode(patches)
    embeds, deep = by_library(vlm, patches)
    assert (ours.embeds - embeds).abs().max() <= 1e-5
    assert len(ours.deepstack) == len(deep) == (name == "qwen3_vl")
    for mine, theirs in zip(ours.deepstack, deep, strict=True):
        assert (mine - theirs).abs().max() <= 1e-5
    counts = [p.tokens(2) for p in patches]
    assert ours.offsets == (0, *np.cumsum(counts).tolist())


@pytest.mark.parametrize("name", NAMES)
def test_features_equal_the_librarys_public_call(name):
    vlm = shared(name)
    patches = pictures(vlm, SIZES["mixed"])
    raw = torch.cat([torch.from_numpy(p.data) for p in patches])
    out = vlm.model.get_image_features(
        normalise(raw, vlm.family.spec), torch.tensor([p.grid for p in patches])
    )
    assert (vlm.encode(patches).embeds - torch.cat(out.pooler_output)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_deep_towers_with_several_taps_and_full_layers(name):
    vlm = build(name, vision_layers=4, deepstack=(0, 2), full_attention=(1, 3), window=32)
    patches = pictures(vlm, SIZES["mixed"])
    with torch.no_grad():
        ours, (embeds, deep) = vlm.encode(patches), by_library(vlm, patches)
    assert (ours.embeds - embeds).abs().max() <= 1e-5
    for mine, theirs in zip(ours.deepstack, deep, strict=True):
        assert (mine - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_a_clip_attend_apart_like_the_librarys(name):
    vlm = shared(name)
    frames = pictures(vlm, [(64, 48)] * 3)
    clip = type(frames[0])(np.concatenate([f.data for f in frames]), (3, 6, 8), (64, 48))
    ours = vlm.encode([clip])
    assert (ours.embeds - by_library(vlm, [clip])[0]).abs().max() <= 1e-5
    assert ours.offsets == (0, 36)


@pytest.mark.parametrize("name", NAMES)
def test_recomputation_in_the_backward_pass_gives_the_same(name):
    vlm = build(name).train()
    patches = pictures(vlm, SIZES["mixed"])
    plain = vlm.encode(patches).embeds
    vlm.model.gradient_checkpointing_enable()
    again = vlm.encode(patches).embeds
    assert (plain - again).abs().max() <= 1e-5
    again.sum().backward()
    assert vlm.vision.blocks[0].attn.qkv.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_loses_no_more_than_the_library_does(name):
    patches = pictures(shared(name), SIZES["mixed"])
    exact = shared(name).encode(patches).embeds
    half = VLM.from_config(shared(name).model.config, dtype=torch.bfloat16)
    half.family = shared(name).family
    half.load_state_dict(shared(name).state_dict())
    with torch.no_grad():
        ours = (half.encode(patches).embeds - exact).square().mean().sqrt()
        theirs = (by_library(half, patches)[0] - exact).square().mean().sqrt()
    assert 0 < ours <= 1.1 * theirs


SIDES = st.sampled_from([2, 4, 6, 8, 14])


@settings(max_examples=60)
@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=5), st.sampled_from([0, 1, 2, 3]))
def test_a_plan_covers_every_patch_once_and_finds_its_way_back(frames, window):
    total = sum(h * w for h, w in frames)
    steps = plan(tuple(frames), 2, window)
    base = np.arange(total) if steps.patches is None else steps.patches
    assert sorted(base) == list(range(total))
    for spans in filter(None, (steps.full, steps.windows)):
        assert sum(n * length for n, length in spans.groups) == total
        if spans.order is not None:
            assert (spans.order[spans.inverse] == np.arange(total)).all()
    units = base[::4] // 4
    back = np.arange(len(units)) if steps.back is None else steps.back
    assert (units[back] == np.arange(total // 4)).all()
    if len(set(frames)) == 1 and not window:
        assert steps.patches is steps.back is None
