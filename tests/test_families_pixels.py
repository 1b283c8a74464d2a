"""The parity processor: golden arrays of the library's torchvision backend, and its rules."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import textured
from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as pil_backend

from vtool.errors import FaultCode, GeometryError
from vtool.families import PixelSpec, family
from vtool.families.pixels import (
    cut,
    normalise,
    normalise_slice,
    patches_of,
    resize,
    smart_resize,
)

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "processor_cases.json").read_text())["cases"]
LEVELS = np.load(GOLDEN / "processor_levels.npz", allow_pickle=False)


def spec_of(case):
    old = family(case["family"]).spec
    return dataclasses.replace(old, min_pixels=case["min_pixels"], max_pixels=case["max_pixels"])


def library_floats(key):
    """The library's pixel_values, put together again from levels and table."""
    levels, table = LEVELS[f"{key}.levels"], LEVELS[f"{key}.table"]
    planes = levels.reshape(len(levels), 3, -1)
    frame = np.stack([table[c][planes[:, c]] for c in range(3)], axis=1)
    return np.repeat(frame[:, :, None], 2, axis=2).reshape(len(levels), -1)


def test_the_golden_cases_scale_up_and_down_on_both_factors():
    assert {family(c["family"]).spec.factor for c in CASES.values()} == {28, 32}
    for name in ("qwen25_vl", "qwen3_vl"):
        grown = [
            c["grid"][1] * family(name).spec.patch > c["size"][1]
            for c in CASES.values()
            if c["family"] == name
        ]
        assert len(grown) == 6
        assert any(grown)
        assert not all(grown)


@pytest.mark.parametrize("key", CASES)
def test_equals_the_torchvision_backend(key):
    case = CASES[key]
    spec = spec_of(case)
    ours = patches_of(textured(*case["size"], case["seed"]), spec)
    assert ours.grid == tuple(case["grid"])
    want = library_floats(key)
    assert np.isfinite(want).all()
    got = normalise(torch.from_numpy(ours.data), spec).numpy()
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-6


@pytest.mark.parametrize("name", ["qwen25_vl", "qwen3_vl"])
def test_difference_to_the_pil_backend_is_as_documented(name):
    """The library's two backends disagree on the resize; ours is the torchvision one."""
    spec = dataclasses.replace(family(name).spec, min_pixels=12_544, max_pixels=1_003_520)
    processor = pil_processor(spec)
    steps = {}
    for label, size in {"up": (50, 40), "down": (900, 700), "near": (800, 600)}.items():
        steps[label] = level_steps(textured(*size), spec, processor)
    assert level_steps(textured(16 * spec.factor, 16 * spec.factor), spec, processor).max() < 1e-3
    for label, values in steps.items():
        assert 0.9 < values.max() < 2.1, label
        assert (values > 0.5).mean() < 0.01, label


def level_steps(pixels, spec, processor):
    """Absolute differences to a processor, in levels of 0-255."""
    theirs = processor(images=[pixels], return_tensors="np")["pixel_values"]
    ours = normalise(torch.from_numpy(patches_of(pixels, spec).data), spec).numpy()
    wide = np.abs(ours - theirs).reshape(len(ours), 3, -1)
    return wide * np.array(spec.std)[:, None] * 255


def pil_processor(spec):
    return pil_backend.Qwen2VLImageProcessorPil(
        patch_size=spec.patch,
        merge_size=spec.merge,
        temporal_patch_size=spec.temporal,
        size={"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels},
        image_mean=list(spec.mean),
        image_std=list(spec.std),
    )


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    factor=st.sampled_from([16, 28, 32]),
    low=st.integers(1, 100_000),
    more=st.integers(4096, 2_000_000),
)
def test_shown_size_is_the_librarys(width, height, factor, low, more):
    spec = PixelSpec(factor // 2, 2, 2, low, low + more, (0.5,) * 3, (0.5,) * 3)
    if max(width, height) / min(width, height) > 200:
        with pytest.raises(GeometryError):
            smart_resize((width, height), spec)
        return
    want = pil_backend.smart_resize(height, width, factor, low, low + more)
    assert smart_resize((width, height), spec) == want[::-1]


@pytest.mark.parametrize("size", [(201, 1), (1, 201), (0, 5), (5, 0), (-3, 4)])
def test_impossible_shapes_are_refused_with_a_code(size):
    with pytest.raises(GeometryError) as caught:
        family("qwen3_vl").shown_size(size)
    assert caught.value.code is FaultCode.BAD_ASPECT


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
    ],
)
def test_anything_but_rgb_bytes_is_refused(pixels):
    with pytest.raises(GeometryError):
        patches_of(pixels, family("qwen3_vl").spec)


def test_cut_refuses_what_does_not_divide():
    with pytest.raises(GeometryError):
        cut(np.zeros((33, 64, 3), np.uint8), family("qwen3_vl").spec)


def test_patches_are_where_the_picture_has_them():
    spec = dataclasses.replace(family("qwen3_vl").spec, patch=2)
    pixels = textured(8, 4)
    data = cut(pixels, spec).data.reshape(-1, 3, 2, 2)
    # Merge blocks run left to right; inside a block, patches run row by row.
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (0, 4), (0, 6), (2, 4), (2, 6)]
    for patch, (y, x) in zip(data, corners, strict=True):
        assert (patch == pixels[y : y + 2, x : x + 2].transpose(2, 0, 1)).all()


def test_read_only_and_strided_pictures_are_read_alike():
    spec = family("qwen3_vl").spec
    pixels = textured(90, 70)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    turned = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    for other in (frozen, turned):
        assert (patches_of(other, spec).data == patches_of(pixels, spec).data).all()


def test_a_picture_that_fits_is_not_resized():
    pixels = textured(64, 64)
    assert resize(pixels, (64, 64)) is pixels


def test_the_slice_is_the_first_frame_of_the_whole():
    spec = family("qwen25_vl").spec
    raw = torch.from_numpy(patches_of(textured(60, 60), spec).data)
    whole = normalise(raw, spec).view(len(raw), 3, spec.temporal, -1)
    part = normalise_slice(raw, spec).view(len(raw), 3, -1)
    for frame in range(spec.temporal):
        assert torch.equal(whole[:, :, frame], part)
