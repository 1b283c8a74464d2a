"""SAM through its own library: equal masks, prompts at their pixels, weights of every size."""

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sam import noise, saved_sam, tiny_sam
from vtool.vision_tools.backends import sam as sam_backend
from vtool.vision_tools.segment import segment
from vtool.vision_tools.segment_everything import segment_everything

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import CheckpointError, FaultCode, ModelFault
from vtool.geometry import Box, Point, Region
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory):
    return saved_sam(tmp_path_factory.mktemp("sam") / "tiny.safetensors")


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": Box(0.25, 0.125, 0.75, 0.5)},
        {"points": [Point(0.3, 0.7)]},
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
        multimask_output=b is None and len(places) == 1,
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


def test_everything_conforms_and_all_it_makes_lies_on_the_picture(sam_file):
    ready = segment_everything.set(
        model=str(sam_file), points_per_side=3, least_iou=-9.0, least_stability=0.0
    )
    check_tool(ready, {"image": noise(), "most": 3})
    store = Store()
    store.add(noise())
    calls = [ToolCall("segment_everything", {"image": 1, "most": 3})]
    (said,) = asyncio.run(Toolbox([ready]).run(calls, store, Hermes(), store.size))
    handles = said.outcomes[0].handles
    assert [h for h in handles if h.startswith("mask")] == ["mask_1", "mask_2", "mask_3"]
    assert [show.handle for show in said.shows] == ["image_2"]
    for handle in handles:
        place = Region(handle, Box(0.25, 0.5, 0.5, 0.75))
        assert store.to_source(place) == Region("image_1", place.shape)


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


def test_damaged_files_are_said_to_be_damaged(tmp_path, sam_file):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(sam_file.read_bytes()[:5000])
    named = tmp_path / "named.safetensors"
    torch.save({"a": torch.zeros(1)}, named)
    for path in (cut, named):
        with pytest.raises(CheckpointError, match="is damaged, or no safetensors file"):
            sam_backend.load_sam(str(path), "cpu")


def test_the_line_that_converts_a_checkpoint_works(tmp_path, sam_file):
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    head, program, tail = sam_backend.CONVERT.split('"')
    assert (head, tail) == ("python -c ", " sam.pth sam.safetensors")
    subprocess.run([sys.executable, "-c", program, *tail.split()], cwd=tmp_path, check=True)
    made, wanted = load_file(tmp_path / "sam.safetensors"), load_file(sam_file)
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[k], wanted[k]) for k in wanted)
    segment.set(backend="sam", model=str(tmp_path))(noise(), points=[Point(0.5, 0.5)])


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_sizes_are_built_as_their_library_builds_them(name):
    library = sam_backend.library()
    with torch.device("meta"):
        wanted = library.sam_model_registry[name]()
        made = sam_backend.build(wanted.state_dict())

    def shapes(model):
        return {k: v.shape for k, v in model.state_dict().items()}

    def blocks(model):
        return [(b.window_size, b.attn.num_heads, b.attn.scale) for b in model.image_encoder.blocks]

    assert shapes(made) == shapes(wanted)
    assert blocks(made) == blocks(wanted)
    assert str(made) == str(wanted)


def test_a_checkpoint_is_loaded_once_however_many_ask(tmp_path):
    path = str(saved_sam(tmp_path / "tiny.safetensors"))
    loaded = []
    asking = [
        threading.Thread(target=lambda: loaded.append(sam_backend.load_sam(path, "cpu")))
        for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(loaded) == 4
    assert all(one is loaded[0] for one in loaded)


def test_pictures_too_long_to_be_scaled_are_refused(sam_file):
    ready = segment.set(backend="sam", model=str(sam_file))
    every = segment_everything.set(model=str(sam_file), points_per_side=2)
    long, seen = noise((1000, 3)), noise((100, 1))
    for call in (lambda: ready(long, points=[Point(0.5, 0.5)]), lambda: every(long)):
        with pytest.raises(ModelFault) as fault:
            call()
        assert fault.value.code is FaultCode.BAD_ASPECT
    ready(seen, points=[Point(0.5, 0.5)])


def test_a_picture_that_could_not_be_embedded_spoils_no_later_call(sam_file, monkeypatch):
    loaded = sam_backend.load_sam(str(sam_file), "cpu")
    ready = segment.set(backend="sam", model=str(sam_file))
    first = ready(noise(), points=[Point(0.5, 0.5)])
    with monkeypatch.context() as patch:
        patch.setattr(loaded.model.image_encoder, "forward", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ready(noise(seed=1), points=[Point(0.5, 0.5)])
    assert ready(noise(), points=[Point(0.5, 0.5)]).values == first.values


def test_where_sam_tells_nothing_apart_it_says_so(sam_file):
    ready = segment_everything.set(model=str(sam_file), points_per_side=2, least_iou=1e9)
    got = ready(noise())
    assert (got.values, got.text) == ((), "nothing was told apart")
    black = Image(np.zeros((2, 2, 3), np.uint8))
    assert ready(black).values == ()
