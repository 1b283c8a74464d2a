"""Segmentation: GrabCut, SAM and SAM 2 against their own libraries, masks as values."""

import asyncio

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from vtool.vision_tools.backends import sam as sam_backend
from vtool.vision_tools.backends.sam2 import Sam2, load_sam2
from vtool.vision_tools.combine_masks import combine_masks
from vtool.vision_tools.measure_mask import measure_mask
from vtool.vision_tools.segment import segment
from vtool.vision_tools.segment_everything import segment_everything
from vtool.vision_tools.show_mask import show_mask

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import CheckpointError, FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Region, mask_iou
from vtool.media import Image
from vtool.message import ToolCall
from vtool.needs import LackKind
from vtool.store import Store
from vtool.toolbox import Toolbox

WIDE = (96, 64)
NORMAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(size=WIDE, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def disc(size=(150, 100), centre=(90, 50), radius=25):
    """A red disc on blue noise, and its true mask."""
    y, x = np.mgrid[: size[1], : size[0]]
    cells = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (size[1], size[0], 3))
    pixels[..., 2] += 150
    pixels[cells] = pixels[cells][:, ::-1]
    return Image(pixels.astype(np.uint8)), Mask(cells)


# --- GrabCut ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": Box(0.38, 0.18, 0.82, 0.82)},
        {"points": [Point(0.6, 0.5)]},
        {"box": Box(0.0, 0.0, 1.0, 1.0), "points": [Point(0.6, 0.5)], "exclude": [Point(0.1, 0.1)]},
    ],
)
def test_grabcut_cuts_a_disc_out(prompt):
    image, truth = disc()
    got = segment(image, **prompt)
    assert mask_iou(got.values[0], truth) > 0.97
    assert got.found[0].score > 0.9
    again = segment(image, **prompt)
    assert again.values[0] == got.values[0]


def test_grabcut_scores_low_where_colours_do_not_come_apart():
    got = segment(noise(), box=Box(0.3, 0.3, 0.7, 0.7))
    assert not got.found or got.found[0].score < 0.6


def test_large_pictures_are_cut_small_and_enlarged_to_their_own_pixels():
    image, truth = disc((1500, 1000), (900, 500), 250)
    got = segment(image, box=Box(0.38, 0.18, 0.82, 0.82)).values[0]
    assert got.cells.shape == (1000, 1500)
    assert mask_iou(got, truth) > 0.97


def test_a_coffee_cup_of_a_real_photograph():
    image = Image(data.coffee())
    got = segment(image, box=Box(0.33, 0.1, 0.85, 0.88), show=True)
    mask, drawn = got.values
    assert drawn.size == image.size
    assert mask.cells[150, 340]  # inside of the cup
    assert not mask.cells[20, 20]


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ({}, FaultCode.BAD_ARGS),
        ({"exclude": [Point(0.5, 0.5)]}, FaultCode.BAD_ARGS),
        ({"points": [Point(0.5, 0.5)] * 33}, FaultCode.BAD_ARGS),
        ({"box": Box(0.5, 0.5, 0.51, 0.9)}, FaultCode.TOO_SMALL),
    ],
)
def test_what_is_meant_is_never_guessed(prompt, code):
    with pytest.raises(ModelFault) as fault:
        segment(noise(), **prompt)
    assert fault.value.code is code


def test_backends_say_what_they_lack():
    assert segment.lacks() == []
    (lack,) = segment.set(backend="sam").lacks()
    assert (lack.kind, lack.what) == (LackKind.WEIGHTS, "model is not set")
    assert segment.set(backend="sam2", model="./none").lacks()[0].kind is LackKind.WEIGHTS
    assert segment_everything.lacks()[0].kind is LackKind.WEIGHTS


@pytest.mark.parametrize(
    ("made", "sample"),
    [
        (segment, {"box": Box(0.2, 0.2, 0.8, 0.8), "image": disc()[0]}),
        (show_mask, {"mask": disc()[1], "image": disc()[0]}),
        (combine_masks, {"first": disc()[1], "second": disc(centre=(60, 50))[1]}),
        (measure_mask, {"mask": disc()[1]}),
    ],
)
def test_they_conform(made, sample):
    check_tool(made, sample)


# --- masks as values ----------------------------------------------------------------------------


def test_a_mask_gets_a_name_that_later_calls_use():
    image, truth = disc()
    store = Store()
    store.add(image)
    box = Toolbox([segment, show_mask, measure_mask])

    def call(name, **arguments):
        (said,) = asyncio.run(box.run([ToolCall(name, arguments)], store, Hermes(), store.size))
        assert said.outcomes[0].fault is None, said.outcomes[0].fault
        return said

    cut = call("segment", image=1, box=[380, 180, 820, 820])
    assert "$mask_1" in cut.text
    assert not cut.shows
    mapped = store.to_source(Region("mask_1", truth.box()))
    assert mapped == Region("image_1", truth.box())
    shown = call("show_mask", image=1, mask="$mask_1", color="blue")
    assert len(shown.shows) == 1
    measured = call("measure_mask", mask="$mask_1").outcomes[0].found
    assert measured[0].facts["pixels"] == pytest.approx(int(truth.cells.sum()), rel=0.03)
    assert measured[1].region.shape.x == pytest.approx(90.5 / 150, abs=0.01)


def test_masks_are_combined():
    a, b = disc()[1], disc(centre=(60, 50))[1]
    for how, cells in (
        ("union", a.cells | b.cells),
        ("intersection", a.cells & b.cells),
        ("difference", a.cells & ~b.cells),
    ):
        assert np.array_equal(combine_masks(a, b, how).values[0].cells, cells)
    far = disc(centre=(25, 25), radius=10)[1]
    assert combine_masks(a, far, "intersection").values == ()
    with pytest.raises(ModelFault, match="one picture"):
        combine_masks(a, Mask(np.ones((3, 3), bool)))


def test_an_overlay_changes_the_mask_only():
    image, truth = disc()
    drawn = show_mask(image, truth, "green", 1.0).values[0]
    assert np.array_equal(drawn.pixels[~truth.cells], image.pixels[~truth.cells])
    assert (drawn.pixels[truth.cells] == (40, 190, 70)).all()
    coarse = Mask(truth.cells[::2, ::2].copy())
    assert show_mask(image, coarse).values[0].size == image.size
    with pytest.raises(ModelFault, match="opacity"):
        show_mask(image, truth, opacity=1.5)


# --- SAM ----------------------------------------------------------------------------------------


def shake(model, std):
    """Weights large enough that pictures and prompts make a difference."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or "norm" not in name:
            torch.nn.init.normal_(parameter, std=std)


def tiny_sam(seed=9):
    m = sam_backend.library().modeling
    torch.manual_seed(seed)
    made = m.Sam(
        image_encoder=m.ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=32,
            depth=3,
            num_heads=2,
            mlp_ratio=2,
            out_chans=32,
            qkv_bias=True,
            norm_layer=lambda n: torch.nn.LayerNorm(n, eps=1e-6),
            use_rel_pos=True,
            rel_pos_zero_init=False,
            window_size=3,
            global_attn_indexes=(2,),
        ),
        prompt_encoder=m.PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8
        ),
        mask_decoder=m.MaskDecoder(
            num_multimask_outputs=3,
            transformer=m.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=24, num_heads=8),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=20,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    shake(made, 0.4)
    return made.eval()


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in tiny_sam().state_dict().items()}, path)
    return path


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": Box(0.25, 0.125, 0.75, 0.5)},
        {"points": [Point(0.3, 0.7)], "exclude": [Point(0.8, 0.1)]},
        {"box": Box(0.1, 0.1, 0.9, 0.9), "points": [Point(0.5, 0.5)]},
    ],
)
def test_sam_equals_its_own_library_on_a_wide_picture(sam_file, prompt):
    image = noise()
    got = segment.set(backend="sam", model=str(sam_file))(image, **prompt)
    predictor = sam_backend.library().SamPredictor(tiny_sam())
    predictor.set_image(np.array(image.pixels))
    places = [(p.x * 96, p.y * 64) for k in ("points", "exclude") for p in prompt.get(k, ())]
    labels = [1] * len(prompt.get("points", ())) + [0] * len(prompt.get("exclude", ()))
    b = prompt.get("box")
    masks, scores, _ = predictor.predict(
        point_coords=np.array(places) if places else None,
        point_labels=np.array(labels) if places else None,
        box=None if b is None else np.array([b.x1 * 96, b.y1 * 64, b.x2 * 96, b.y2 * 64]),
        multimask_output=b is None,
    )
    best = int(np.argmax(scores))
    assert masks[best].any()
    assert not masks[best].all()
    assert np.array_equal(got.values[0].cells, masks[best])
    assert got.found[0].score == pytest.approx(float(np.clip(scores[best], 0, 1)), abs=1e-5)


def test_prompts_reach_sam_at_their_pixels(sam_file, monkeypatch):
    seen = {}
    loaded = sam_backend.load_sam(str(sam_file), "cpu")
    true = loaded._predictor.predict_torch

    def spy(points, labels, boxes, *rest, **options):
        seen.update(points=points, boxes=boxes)
        return true(points, labels, boxes, *rest, **options)

    monkeypatch.setattr(loaded._predictor, "predict_torch", spy)
    prompt = {"box": Box(0.25, 0.125, 0.75, 0.5), "points": [Point(0.5, 0.25)]}
    segment.set(backend="sam", model=str(sam_file))(noise(), **prompt)
    # 96 x 64 is scaled to 64 x 43 of the encoder's 64 x 64, the rest is padding.
    assert seen["points"].flatten().tolist() == pytest.approx([32, 43 / 4], abs=1e-4)
    assert seen["boxes"].flatten().tolist() == pytest.approx([16, 43 / 8, 48, 43 / 2], abs=1e-4)


def test_everything_gives_named_masks_largest_first(sam_file):
    ready = segment_everything.set(
        model=str(sam_file), points_per_side=3, least_iou=-9.0, least_stability=0.0
    )
    got = ready(noise(), most=4)
    masks = got.values[:-1]
    assert 1 <= len(masks) <= 4
    areas = [m.area for m in masks]
    assert areas == sorted(areas, reverse=True)
    assert [f.label for f in got.found] == [f"mask {i + 1}" for i in range(len(masks))]
    options = {"points_per_side": 3, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0}
    direct = sam_backend.library().SamAutomaticMaskGenerator(tiny_sam(), **options)
    wanted = {m["segmentation"].tobytes() for m in direct.generate(np.array(noise().pixels))}
    assert {m.cells.tobytes() for m in masks} <= wanted
    with pytest.raises(ModelFault, match="most"):
        ready(noise(), most=0)


def test_pickles_and_foreign_files_are_refused(tmp_path, sam_file):
    pickle = tmp_path / "sam_vit_b.pth"
    torch.save({"a": torch.zeros(1)}, pickle)
    for path, says in (
        (pickle, "never loaded here; convert it once"),
        (tmp_path / "none.safetensors", "no SAM weights"),
        (tmp_path, "holds 0 safetensors"),
    ):
        with pytest.raises(CheckpointError, match=says):
            sam_backend.load_sam(str(path), "cpu")
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2, 2)}, other)
    with pytest.raises(CheckpointError, match="no weights of a SAM"):
        sam_backend.load_sam(str(other), "cpu")


# --- SAM 2 ----------------------------------------------------------------------------------------


def tiny_sam2(folder):
    from transformers import Sam2Config, Sam2Model

    backbone = {
        "hidden_size": 8,
        "image_size": [64, 64],
        "patch_kernel_size": [7, 7],
        "patch_stride": [4, 4],
        "patch_padding": [3, 3],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [4],
        "window_positional_embedding_background_size": [2, 2],
    }
    config = Sam2Config(
        vision_config={
            "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    torch.manual_seed(1)
    model = Sam2Model(config).eval()
    shake(model, 0.3)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def sam2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam2")
    model = tiny_sam2(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}'
    )
    return folder, model


@pytest.mark.parametrize("with_box", [True, False])
def test_sam2_equals_a_direct_call_on_a_wide_picture(sam2, with_box):
    folder, model = sam2
    image = noise()
    prompt = {"box": Box(0.25, 0.125, 0.75, 0.5)} if with_box else {"points": [Point(0.3, 0.7)]}
    got = segment.set(backend="sam2", model=str(folder))(image, **prompt)
    square = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None],
        size=(64, 64),
        mode="bilinear",
        antialias=True,
    )
    mean = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
    given = (
        {"input_boxes": torch.tensor([[[16.0, 8.0, 48.0, 32.0]]])}
        if with_box
        else {
            "input_points": torch.tensor([[[[0.3 * 64, 0.7 * 64]]]]),
            "input_labels": torch.tensor([[[1]]], dtype=torch.int32),
        }
    )
    with torch.inference_mode():
        out = model((square / 255 - mean) / std, multimask_output=not with_box, **given)
    best = int(out.iou_scores[0, 0].argmax())
    logits = torch.nn.functional.interpolate(
        out.pred_masks[0, 0, best][None, None], size=(64, 96), mode="bilinear"
    )[0, 0]
    certain = (logits.abs() > 1e-4).numpy()
    assert 0 < (logits > 0).sum() < logits.numel()
    assert np.array_equal(got.values[0].cells[certain], (logits > 0).numpy()[certain])
    score = float(out.iou_scores[0, 0, best])
    assert got.found[0].score == pytest.approx(min(1, max(0, score)), abs=1e-5)


def test_sam2_without_its_files_normalises_as_imagenet_and_is_loaded_once(tmp_path, sam2):
    tiny_sam2(tmp_path)
    loaded = load_sam2(str(tmp_path), "cpu", True)
    assert loaded is load_sam2(str(tmp_path), "cpu", True)
    grey = Image(np.full((10, 20, 3), 128, np.uint8))
    wanted = [(128 / 255 - m) / s for m, s in zip(*NORMAL, strict=True)]
    assert loaded.pixels(grey)[0, :, 5, 5].tolist() == pytest.approx(wanted, abs=1e-5)
    assert isinstance(loaded, Sam2)
    with pytest.raises(CheckpointError, match="cannot load SAM 2"):
        load_sam2(str(tmp_path / "none"), "cpu", True)
