"""Depth from pictures: the Middlebury pair, parallax, and checkpoints of the real classes."""

import asyncio
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import transformers
from skimage import data
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil
from transformers.models.zoedepth import image_processing_pil_zoedepth as zoe_processing
from vtool.vision_tools.backends import mono_depth
from vtool.vision_tools.backends.stereo import default_disparities, disparity
from vtool.vision_tools.depth import depth
from vtool.vision_tools.distance import distance
from vtool.vision_tools.parallax import parallax
from vtool.vision_tools.show_depth import show_depth
from vtool.vision_tools.stereo_depth import stereo_depth

from vtool.camera import Camera
from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import FaultCode, ModelFault, RecipeError
from vtool.geometry import Box, Point, Region
from vtool.media import Image
from vtool.message import ToolCall
from vtool.needs import LackKind
from vtool.store import Store
from vtool.toolbox import Toolbox

# scikit-image 0.26, `skimage.data.stereo_motorcycle`: Middlebury 2014, scaled down four times.
FOCAL, BASELINE, DOFFS, CX, CY = 994.978, 0.193001, 31.086, 311.193, 254.877
RIG = {
    "focal_px": FOCAL,
    "baseline_m": BASELINE,
    "doffs_px": DOFFS,
    "cx_px": CX,
    "cy_px": CY,
    "width_px": 741,
    "height_px": 500,
}


@pytest.fixture(scope="module")
def motorcycle():
    left, right, truth = data.stereo_motorcycle()
    return Image(left), Image(right), truth


# Two pictures


def test_disparity_of_the_motorcycle_is_that_of_middlebury(motorcycle):
    left, right, truth = motorcycle
    tried = default_disparities(741)
    assert tried == 96
    found = disparity(left, right, disparities=tried, block=3, tolerance_px=1.0)
    known, matched = np.isfinite(truth), np.isfinite(found)
    away = np.abs(found - truth)[known & matched]
    assert away.mean() < 1.5
    assert (away > 2).mean() < 0.08
    assert (known & matched).sum() / known.sum() > 0.85


def test_what_only_one_side_believes_is_not_believed(motorcycle):
    left, right, truth = motorcycle
    known, found = np.isfinite(truth), {}
    for tolerance in (1.0, 1e9):
        shift = disparity(left, right, disparities=64, block=3, tolerance_px=tolerance)
        both = known & np.isfinite(shift)
        found[tolerance] = both.sum(), (np.abs(shift - truth)[both] > 2).mean()
    assert found[1.0][0] < found[1e9][0]
    assert found[1.0][1] < found[1e9][1]


def test_metres_follow_from_the_disparity(motorcycle):
    left, right, truth = motorcycle
    seen = stereo_depth.set(**RIG)(left, right)
    (made,) = seen.values
    assert made.metric
    assert made.camera == Camera(FOCAL, FOCAL, CX, CY)
    z = FOCAL * BASELINE / (truth + DOFFS)
    both = made.valid & np.isfinite(truth)
    off = np.abs(made.values - z)[both] / z[both]
    assert np.median(off) < 0.005
    assert (off > 0.05).mean() < 0.05
    assert f"{made.valid.mean():.1%}" in seen.text
    # From the rear wheel to the front wheel, against the truth's own depth at these places.
    rear, front = Point(206 / 741, 318 / 500), Point(575 / 741, 370 / 500)
    exact = type(made)(z.astype(np.float32), True, made.camera)
    measured, true = (float(distance(d, rear, front).text.split()[0]) for d in (made, exact))
    assert measured == pytest.approx(true, rel=0.02)
    assert true > 0.5


def test_without_a_unit_ratios_hold(motorcycle):
    left, right, _ = motorcycle
    metric = stereo_depth.set(**RIG)(left, right).values[0]
    seen = stereo_depth.set(doffs_px=DOFFS)(left, right)
    (made,) = seen.values
    assert (made.metric, made.camera) == (False, None)
    assert "relative" in seen.text
    ratio = (metric.values / made.values)[metric.valid]
    assert ratio == pytest.approx(FOCAL * BASELINE, rel=1e-5)


def test_cameras_known_for_another_size_give_no_metres(motorcycle):
    left, right, _ = (Image(p.pixels[:, 100:].copy()) for p in (*motorcycle[:2], motorcycle[0]))
    seen = stereo_depth.set(**RIG)(left, right)
    assert (seen.values[0].metric, seen.values[0].camera) == (False, None)
    assert "another picture size" in seen.text


def test_a_swapped_pair_is_called_doubtful(motorcycle):
    left, right, _ = motorcycle
    assert "Doubtful" in stereo_depth(right, left).text
    assert "Doubtful" not in stereo_depth(left, right).text


def test_a_shifted_texture_has_the_disparity_by_which_it_was_shifted():
    rng = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(rng.integers(0, 256, (60, 140, 3), dtype=np.uint8), (0, 0), 1)
    left, right = Image(pixels[:, :128].copy()), Image(pixels[:, 12:].copy())
    found = disparity(left, right, disparities=32, block=3, tolerance_px=1.0)
    assert np.isnan(found[:, :11]).all()
    assert np.nanmedian(found) == pytest.approx(12, abs=0.1)
    made = stereo_depth.set(focal_px=100.0, baseline_m=0.6)(left, right).values[0]
    assert np.nanmedian(made.values) == pytest.approx(5.0, abs=0.05)


def test_parallax_orders_the_motorcycle_by_depth(motorcycle):
    left, right, truth = motorcycle
    seen = parallax(left, right)
    (made,) = seen.values
    both = made.valid & np.isfinite(truth)
    assert both.mean() > 0.7
    ranks = [np.argsort(np.argsort(v)) for v in (made.values[both], -truth[both])]
    assert np.corrcoef(*ranks)[0, 1] > 0.9
    assert not made.metric
    assert made.values[made.valid].min() == 0
    assert "Doubtful" not in seen.text


def test_a_camera_that_moves_forward_is_called_doubtful():
    photo = Image(data.coffee())
    closer = photo.crop(Box(0.04, 0.04, 0.96, 0.96)).resize(photo.size)
    assert "Doubtful" in parallax(photo, closer).text


@pytest.mark.parametrize("tool", [stereo_depth, parallax])
def test_pairs_that_show_no_depth_are_the_model_s_fault(tool):
    photo = Image(data.coffee())
    tiny = Image(photo.pixels[:8, :8].copy())
    for pair, code in (
        ((photo, tiny), FaultCode.BAD_ARGS),
        ((tiny, tiny), FaultCode.TOO_SMALL),
        ((photo, photo), FaultCode.BAD_ARGS),
    ):
        with pytest.raises(ModelFault) as fault:
            tool(*pair)
        assert fault.value.code is code


def test_pictures_that_would_take_minutes_are_refused():
    huge = Image(np.zeros((3000, 8000, 3), np.uint8))
    with pytest.raises(ModelFault, match="8000x3000") as fault:
        stereo_depth(huge, huge)
    assert fault.value.code is FaultCode.TOO_LARGE


@pytest.mark.parametrize("tool", [stereo_depth, parallax])
def test_the_tools_for_pairs_can_be_offered(tool, motorcycle):
    names = [p.name for p in tool.spec.params]
    small = [p.resize((240, 160)) for p in motorcycle[:2]]
    check_tool(tool, dict(zip(names, small, strict=True)))


def test_places_on_stereo_depth_shown_lead_to_the_left_picture(motorcycle):
    store = Store()
    for picture in motorcycle[:2]:
        store.add(picture)
    toolbox = Toolbox([stereo_depth, show_depth])

    def call(name, **arguments):
        made = toolbox.run([ToolCall(name, arguments)], store, Hermes(), store.size)
        return asyncio.run(made)[0].outcomes[0].handles[0]

    handle = call("show_depth", depth=call("stereo_depth", left=1, right=2))
    (tile,) = store[handle].origin.tiles
    spot = Point(0.5 * tile.cell.x2, 0.25 * tile.cell.y2)
    got = store.to_source(Region(handle, spot))
    assert got.media == "image_1"
    assert (got.shape.x, got.shape.y) == pytest.approx((0.5, 0.25))


# One picture

TINY = {
    "reassemble_hidden_size": 32,
    "neck_hidden_sizes": [8, 8, 16, 16],
    "fusion_hidden_size": 8,
}


def dino():
    return transformers.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )


def depth_anything(kind):
    limit = 20 if kind == "metric" else None
    config = transformers.DepthAnythingConfig(
        backbone_config=dino(),
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=limit,
        **TINY,
    )
    processor = DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return transformers.DepthAnythingForDepthEstimation(config), processor


def dpt():
    config = transformers.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
    )
    processor = DPTImageProcessorPil(size={"height": 64, "width": 64})
    return transformers.DPTForDepthEstimation(config), processor


def glpn():
    config = transformers.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
    )
    return transformers.GLPNForDepthEstimation(config), GLPNImageProcessorPil()


def zoe():
    backbone = transformers.BeitConfig(
        image_size=64,
        num_hidden_layers=4,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=8,
        bin_embedding_dim=16,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"n_bins": 4, "min_depth": 0.001, "max_depth": 10.0}],
    )
    processor = zoe_processing.ZoeDepthImageProcessorPil(size={"height": 64, "width": 96})
    return transformers.ZoeDepthForDepthEstimation(config), processor


MADE = {
    "relative": lambda: depth_anything("relative"),
    "metric": lambda: depth_anything("metric"),
    "dpt": dpt,
    "glpn": glpn,
    "zoe": zoe,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder of a tiny random checkpoint of a class, saved as the hub's are."""
    kept = {}

    def make(name):
        if name not in kept:
            torch.manual_seed(0)
            model, processor = MADE[name]()
            with torch.no_grad():
                for weight in model.parameters():
                    # Initial weights are so small that all pixels would be told the same depth.
                    weight.add_(torch.randn_like(weight) * 0.15)
            kept[name] = tmp_path_factory.mktemp(name)
            model.save_pretrained(kept[name])
            processor.save_pretrained(kept[name])
        return kept[name]

    return make


def resized(depth, size, interpolation, antialias):
    return torch.nn.functional.interpolate(
        depth[None], size=size, mode=interpolation, antialias=antialias
    )[0]


def direct(folder, image, monkeypatch):
    """What the library itself says, called as its documentation shows."""
    model = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        out = model(**processor(images=image.pixels, return_tensors="pt"))
    sizes = [image.pixels.shape[:2]]
    more = {"source_sizes": sizes} if model.config.model_type == "zoedepth" else {}
    if more:
        # Where torchvision is missing the library's own step fails on this one call.
        resize = SimpleNamespace(
            resize=resized, InterpolationMode=SimpleNamespace(BICUBIC="bicubic")
        )
        monkeypatch.setattr(zoe_processing, "tvF", resize, raising=False)
    (result,) = processor.post_process_depth_estimation(out, target_sizes=sizes, **more)
    return result["predicted_depth"].numpy()


@pytest.mark.parametrize("name", MADE)
def test_depth_is_what_the_library_says_turned_so_that_larger_is_farther(
    name, checkpoint, monkeypatch
):
    folder = checkpoint(name)
    photo = Image(data.chelsea())
    raw = direct(folder, photo, monkeypatch)
    seen = depth.set(model=str(folder), local_files_only=True, view_degrees=60.0)(photo)
    (made,) = seen.values
    assert made.values.shape == photo.pixels.shape[:2]
    assert raw.std() > 1e-3 * abs(raw.mean())
    inverse = name in ("relative", "dpt")
    want = (raw.max() - raw) / (raw.max() - raw.min()) if inverse else raw
    assert np.abs(made.values - want).max() <= 1e-5 * max(1.0, np.abs(want).max())
    assert made.metric is not inverse
    assert ("metres" in seen.text) is not inverse
    assert "larger is farther" in seen.text
    assert made.camera == Camera.seeing(60.0, photo.size)


def test_places_on_depth_are_places_on_the_picture(checkpoint):
    store = Store()
    store.add(Image(data.chelsea()))
    toolbox = Toolbox([depth.set(model=str(checkpoint("relative")))])
    call = ToolCall("depth", {"image": 1})
    (message,) = asyncio.run(toolbox.run([call], store, Hermes(), store.size))
    box = Box(0.1, 0.2, 0.3, 0.4)
    assert message.outcomes[0].handles == ("depth_1",)
    assert store.to_source(Region("depth_1", box)) == Region("image_1", box)
    assert "$depth_1" in message.text


def test_what_is_to_the_right_in_the_picture_is_to_the_right_in_the_depth(checkpoint):
    """A convolutional encoder sees locally: a change in one corner shows in that corner."""
    run = depth.set(model=str(checkpoint("glpn")))
    photo = Image(data.chelsea())
    changed = photo.pixels.copy()
    changed[:100, 300:] = 255 - changed[:100, 300:]
    moved = np.abs(run(Image(changed)).values[0].values - run(photo).values[0].values)
    rows, columns = np.indices(moved.shape)
    assert np.average(columns, weights=moved) > 250
    assert np.average(rows, weights=moved) < 130


def test_depth_can_be_offered_and_says_what_it_lacks(checkpoint):
    (lack,) = depth.lacks()
    assert (lack.kind, "depth.model=" in lack.fix) == (LackKind.WEIGHTS, True)
    ready = depth.set(model=str(checkpoint("dpt")))
    assert ready.lacks() == []
    check_tool(ready, {"settings": ready.settings})


def test_the_meaning_of_numbers_can_be_set_and_is_never_guessed(checkpoint, monkeypatch):
    photo = Image(data.chelsea())
    folder = str(checkpoint("dpt"))
    raw = direct(folder, photo, monkeypatch)
    metric = depth.set(model=folder, says="metres")(photo).values[0]
    assert metric.metric
    assert metric.values == pytest.approx(raw, abs=1e-5)
    farther = depth.set(model=folder, says="farther")(photo).values[0].values
    assert np.corrcoef(farther.ravel(), raw.ravel())[0, 1] > 0.999
    with pytest.raises(RecipeError, match=r"depth\.says"):
        mono_depth.meaning_of(transformers.DepthProConfig())


def test_a_processor_that_pads_is_refused():
    processor = DPTImageProcessorPil(do_pad=True, size_divisor=14)
    with pytest.raises(RecipeError, match="do_pad"):
        mono_depth.check_processor(processor, "dpt")
