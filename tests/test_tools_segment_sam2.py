"""SAM 2 through transformers: equal to direct calls, and to the library's processor (goldens)."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import textured
from safetensors.torch import save_file
from tiny_sam import noise, tiny_sam2
from vtool.vision_tools.backends.prompts import Prompt
from vtool.vision_tools.backends.sam2 import Sam2, load_sam2
from vtool.vision_tools.segment import segment

from vtool.errors import CheckpointError
from vtool.geometry import Box, Point
from vtool.media import Image

NORMAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "sam2_processor.json").read_text())


@pytest.fixture(scope="module")
def sam2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam2")
    model = tiny_sam2(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}'
    )
    return folder, model


@pytest.mark.parametrize("asked", ["box", "point", "points"])
def test_sam2_equals_a_direct_call_on_a_wide_picture(sam2, asked):
    folder, model = sam2
    image = noise()
    prompt = {
        "box": {"box": Box(0.25, 0.125, 0.75, 0.5)},
        "point": {"points": [Point(0.3, 0.7)]},
        "points": {"points": [Point(0.3, 0.7)], "exclude": [Point(0.9, 0.5)]},
    }[asked]
    got = segment.set(backend="sam2", model=str(folder))(image, **prompt)
    square = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None],
        size=(64, 64),
        mode="bilinear",
        antialias=True,
    )
    mean = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
    places, labels = [[0.3 * 64, 0.7 * 64], [0.9 * 64, 32.0]], [1, 0]
    count = 1 if asked == "point" else 2
    given = {
        "input_points": torch.tensor([[places[:count]]]),
        "input_labels": torch.tensor([[labels[:count]]], dtype=torch.int32),
    }
    if asked == "box":
        given = {"input_boxes": torch.tensor([[[16.0, 8.0, 48.0, 32.0]]])}
    with torch.inference_mode():
        out = model((square / 255 - mean) / std, multimask_output=asked == "point", **given)
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


class Fixed:
    """A model that answers with given logits and keeps what it was asked."""

    device = torch.device("cpu")

    def __init__(self, side, logits):
        backbone = SimpleNamespace(image_size=[side, side])
        self.config = SimpleNamespace(vision_config=SimpleNamespace(backbone_config=backbone))
        self.logits, self.seen, self.asked = logits, [], {}

    def get_image_embeddings(self, pixels):
        self.seen.append(pixels)
        return ["embedding"]

    def __call__(self, **asked):
        self.asked = asked
        return SimpleNamespace(iou_scores=torch.tensor([[[0.5]]]), pred_masks=self.logits[None])


@pytest.mark.parametrize("name", CASES["sizes"])
def test_pictures_prompts_and_masks_equal_the_library_s_own_processor(name):
    with np.load(GOLDEN / "sam2_processor.npz", allow_pickle=False) as arrays:
        golden = {k.partition(".")[2]: arrays[k] for k in arrays if k.startswith(f"{name}.")}
    model = Fixed(CASES["side"], torch.from_numpy(golden["logits"]))
    image = Image(textured(*CASES["sizes"][name], list(CASES["sizes"]).index(name)))
    on, off = (Point(*p) for p in CASES["points"])
    got = Sam2(model).segment(image, Prompt(Box(*CASES["box"]), (on,), (off,)))
    assert model.seen[0].numpy() == pytest.approx(golden["pixel_values"], abs=1e-5)
    for key in ("input_points", "input_boxes"):
        assert model.asked[key].numpy() == pytest.approx(golden[key], abs=1e-4)
    assert model.asked["input_labels"].tolist() == [[[1, 0]]]
    assert 0 < golden["mask"].mean() < 1
    assert np.array_equal(got.cells, golden["mask"])


def test_a_picture_is_embedded_once_for_all_prompts():
    model = Fixed(32, torch.ones(1, 1, 8, 8))
    loaded, first, second = Sam2(model), noise(), noise(seed=1)
    for image in (first, first, second, second, first):
        loaded.segment(image, Prompt(points=(Point(0.5, 0.5),)))
    assert len(model.seen) == 3


def video_model(folder, made):
    """The published checkpoints are of the video model, which holds all that pictures need."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    small = {
        "image_size": 64,
        "memory_attention_hidden_size": 16,
        "memory_attention_num_layers": 1,
        "memory_attention_downsample_rate": 1,
        "memory_attention_feed_forward_hidden_size": 8,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 16,
        "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
    }
    config = Sam2VideoConfig(**{p: getattr(made.config, p).to_dict() for p in parts}, **small)
    video = Sam2VideoModel(config)
    video.load_state_dict(made.state_dict(), strict=False)
    video.save_pretrained(folder)
    return folder


def test_a_checkpoint_of_the_video_model_gives_the_same_masks(tmp_path, sam2):
    folder, made = sam2
    for file in folder.glob("preprocessor_config.json"):
        (tmp_path / file.name).write_text(file.read_text())
    video_model(tmp_path, made)
    prompt = {"points": [Point(0.3, 0.7)]}
    wanted = segment.set(backend="sam2", model=str(folder))(noise(), **prompt)
    got = segment.set(backend="sam2", model=str(tmp_path))(noise(), **prompt)
    assert got.values == wanted.values
    assert got.found[0].score == pytest.approx(wanted.found[0].score, abs=1e-6)


def test_checkpoints_of_something_else_are_refused_not_filled_with_random_numbers(tmp_path, sam2):
    config = (sam2[0] / "config.json").read_text()
    weights = (sam2[0] / "model.safetensors").read_bytes()

    def folder(name, data):
        path = tmp_path / name
        path.mkdir()
        (path / "config.json").write_text(config)
        if data:
            (path / "model.safetensors").write_bytes(data)
        return path

    other = folder("other", None)
    save_file({"a": torch.zeros(1)}, other / "model.safetensors", metadata={"format": "pt"})
    pickled = folder("pickled", None)
    torch.save(sam2[1].state_dict(), pickled / "pytorch_model.bin")
    for path, says in (
        (other, "holds no SAM 2"),
        (pickled, "cannot load SAM 2"),
        (folder("cut", weights[:3000]), "cannot load SAM 2"),
    ):
        with pytest.raises(CheckpointError, match=says):
            load_sam2(str(path), "cpu", True)


def test_a_folder_below_home_is_found(tmp_path, monkeypatch, sam2):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights").symlink_to(sam2[0])
    ready = segment.set(backend="sam2", model="~/weights", local_files_only=True)
    assert ready.lacks() == []
    assert ready(noise(), points=[Point(0.3, 0.7)]).found
