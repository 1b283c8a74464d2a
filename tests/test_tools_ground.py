"""Open vocabulary on tiny random checkpoints of the real classes, and pointing."""

import asyncio
import json

import numpy as np
import pytest
import tiny_zero_shot
import torch
import voc
from fetched import fetched
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from skimage import data
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
from vtool.vision_tools.backends import vlm_point, zero_shot
from vtool.vision_tools.backends.detection import unit_box
from vtool.vision_tools.ground import GroundSettings
from vtool.vision_tools.point import PointSettings

from vtool.check import check_tool
from vtool.engines.scripted import ScriptedEngine
from vtool.errors import CheckpointError, FaultCode, ModelFault, RecipeError
from vtool.geometry import Point, iou
from vtool.loading import Policy
from vtool.media import Image
from vtool.needs import LackKind
from vtool.pairs import load_renderer
from vtool.shipped import shipped
from vtool.tool import tools

detect, ground, point = (tools.get(name) for name in ("detect", "ground", "point"))


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def photo(name):
    made = getattr(data, name)()
    return Image(np.ascontiguousarray(made[0] if isinstance(made, tuple) else made))


@pytest.fixture(scope="module")
def weights():
    return fetched("nanodet")


# -- open vocabulary: real classes, random weights

FAMILIES = ("grounding_dino", "owlv2", "owlvit")
PHRASES = ["the cat", "Red Mug", "dog"]
EVERYTHING = {"threshold": 0.0, "text_threshold": 0.0, "overlap": None}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("zero_shot")
    return {name: getattr(tiny_zero_shot, name)(root / name) for name in FAMILIES}


def direct(folder, image, phrases, threshold):
    """Boxes in pixels, scores and raw outputs, by the library alone."""
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    dino = model.config.model_type == "grounding-dino"
    lower = [p.lower() for p in phrases]
    text = ". ".join(lower) + "." if dino else [list(phrases)]
    more = {} if dino else {"padding": "max_length", "max_length": 16}
    picture = PILImage.fromarray(image.pixels)
    inputs = processor(images=picture, text=text, return_tensors="pt", **more)
    with torch.no_grad():
        outputs = model(**inputs)
    sizes = [image.pixels.shape[:2]]
    (result,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=sizes
    )
    return result["boxes"], result["scores"], outputs, inputs


def same(rows, others, within=1e-5):
    """Whether two sets of rows are the same, in any order."""
    rows, others = np.array(rows), np.array(others)
    away = np.abs(rows[:, None] - others[None]).max(axis=2)
    return len(rows) == len(others) and away.min(axis=0).max() < within > away.min(axis=1).max()


def rows_of(found):
    return [(f.score, f.shape.x1, f.shape.y1, f.shape.x2, f.shape.y2) for f in found]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (75, 75)])
def test_equal_to_the_library_and_to_the_raw_numbers(checkpoints, family, size):
    image = noise(*size)
    width, height = size
    boxes, scores, outputs, _ = direct(checkpoints[family], image, PHRASES, 0.0)
    got = ground.set(model=checkpoints[family], **EVERYTHING)(image, PHRASES).found
    cut = [
        unit_box(np.array(b) / np.array([width, height, width, height]), 1, 1)
        for b in boxes.tolist()
    ]
    want = [(s, b.x1, b.y1, b.x2, b.y2) for s, b in zip(scores.tolist(), cut, strict=True) if b]
    told = rows_of(got)
    assert same(told, want)
    assert len({round(s, 4) for s, *_ in told}) > 3

    # The same from the model's own numbers: centre and size as shares of what it saw, which is a
    # square of the longer side for OWLv2 and the picture itself for the others.
    cx, cy, w, h = outputs.pred_boxes[0].double().numpy().T
    seen = (max(size), max(size)) if family == "owlv2" else size
    raw = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    raw = np.clip(raw * [*seen, *seen] / [*size, *size], 0, 1)
    inside = (raw[:, 2:] - raw[:, :2] > 1e-4).all(axis=1)
    told = [r for r in told if r[3] - r[1] > 1e-4 and r[4] - r[2] > 1e-4]
    top = outputs.logits[0].sigmoid().max(dim=-1).values.double().numpy()
    assert same(told, [(s, *b) for s, b in zip(top[inside], raw[inside], strict=True)])


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_depend_on_picture_and_phrase(checkpoints, family):
    look = ground.set(model=checkpoints[family], **EVERYTHING)
    one = look(noise(90, 60), ["cat"]).found
    assert one != look(noise(90, 60, 1), ["cat"]).found
    assert one != look(noise(90, 60), ["dog"]).found
    assert one == look(noise(90, 60), ["cat"]).found


@pytest.mark.parametrize(("size", "kept"), [((96, 48), 18), ((48, 96), 18), ((96, 96), 36)])
def test_owlv2_boxes_lie_on_the_padded_square(checkpoints, monkeypatch, size, kept):
    """With a silent box head, boxes of one patch stand on the corners of the patches: 6 x 6 of
    16 pixels, on a square of 96."""
    found = zero_shot.load(checkpoints["owlv2"], device="cpu", local_files_only=True)
    with torch.no_grad():
        for part in found.model.box_head.dense2.parameters():
            monkeypatch.setattr(part, "data", torch.zeros_like(part))
    seen = found.find(noise(*size), ["cat"], threshold=0.0)
    assert len(seen) == kept
    ends = np.arange(1, 7) * 16.0
    grid = [(x - 8, y - 8, x + 8, y + 8) for x in ends for y in ends]
    cut = [unit_box(np.array(g), *size) for g in grid]
    want = [(0.0, b.x1, b.y1, b.x2, b.y2) for b in cut if b]
    assert same([(0.0, *row[1:]) for row in rows_of(d.finding() for d in seen)], want, within=1e-3)


def test_grounding_dino_names_the_phrase_whose_words_fit_best(checkpoints):
    image, phrases = noise(90, 60), ["cat", "red mug"]
    boxes, scores, outputs, inputs = direct(checkpoints["grounding_dino"], image, phrases, 0.0)
    ids = inputs["input_ids"][0].tolist()
    assert [ids[1], ids[3:5]] == [200, [202, 203]]
    words = outputs.logits[0].sigmoid()
    cat, mug = words[:, 1], words[:, 3:5].max(dim=1).values
    found = ground.set(model=checkpoints["grounding_dino"], **EVERYTHING)(image, phrases).found
    assert {f.label for f in found} == {"cat", "red mug"}
    boxes = [unit_box(b, *image.size) for b in boxes.numpy()]
    for finding in found:
        (row,) = [i for i, b in enumerate(boxes) if iou(b, finding.shape) > 0.9999]
        assert finding.score == pytest.approx(scores[row].item(), abs=1e-5)
        assert finding.label == ("cat" if cat[row] >= mug[row] else "red mug")
    strict = {**EVERYTHING, "text_threshold": 0.9}
    fewer = ground.set(model=checkpoints["grounding_dino"], **strict)(image, phrases).found
    sure = int((torch.maximum(cat, mug) > 0.9).sum())
    assert 0 < len(fewer) == sure < len(found)


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=12), min_size=1))
def test_captions_part_phrases_by_full_stops_alone(phrases):
    caption, spans = zero_shot.caption_of(phrases)
    assert len(spans) == len(phrases)
    for (low, high), phrase in zip(spans, phrases, strict=True):
        assert (
            caption[low:high].split() == phrase.lower().replace(".", " ").replace("?", " ").split()
        )
    assert caption.count(".") == len(phrases)
    assert "?" not in caption


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_saved_in_half_precision_works(checkpoints, family, tmp_path):
    model = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoints[family])
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    AutoProcessor.from_pretrained(checkpoints[family]).save_pretrained(tmp_path)
    assert "bfloat16" in (tmp_path / "config.json").read_text()
    found = ground.set(model=str(tmp_path), **EVERYTHING)(noise(90, 60), ["cat"]).found
    assert len({f.score for f in found}) > 3


def test_one_place_is_told_once_for_each_phrase(checkpoints):
    wide = ground.set(model=checkpoints["owlvit"], threshold=0.0, overlap=0.1)
    everything = ground.set(model=checkpoints["owlvit"], **EVERYTHING)
    few, many = wide(noise(90, 60), ["cat"]).found, everything(noise(90, 60), ["cat"]).found
    assert 0 < len(few) < len(many)
    assert all(iou(a.shape, b.shape) <= 0.1 + 1e-6 for i, a in enumerate(few) for b in few[i + 1 :])
    assert (
        len(
            ground.set(model=checkpoints["owlvit"], most=2, **EVERYTHING)(
                noise(90, 60), ["cat"]
            ).found
        )
        == 2
    )


def test_nothing_found_is_said(checkpoints):
    seen = ground.set(model=checkpoints["owlv2"], threshold=1.0)(noise(90, 60), ["cat", "dog"])
    assert (seen.found, seen.text) == ((), "no cat or dog found")


@pytest.mark.parametrize("family", FAMILIES)
def test_long_phrases_are_refused(checkpoints, family):
    with pytest.raises(ModelFault, match="tokens") as caught:
        ground.set(model=checkpoints[family])(noise(90, 60), ["cat", "abcdefghij " * 6])
    assert caught.value.code is FaultCode.TOO_LARGE


@pytest.mark.parametrize(
    ("size", "code"), [((1, 1), "too_small"), ((3, 90), "too_small"), ((4, 401), "bad_aspect")]
)
def test_slivers_are_refused(checkpoints, size, code):
    with pytest.raises(ModelFault) as caught:
        ground.set(model=checkpoints["grounding_dino"])(noise(*size), ["cat"])
    assert caught.value.code == code


def test_checkpoints_that_do_not_fit(tmp_path, checkpoints):
    with pytest.raises(RecipeError, match="zero-shot detection checkpoint"):
        ground.set(model=str(tmp_path))(noise(20, 20), ["cat"])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RecipeError, match="zero-shot detection checkpoint"):
        ground.set(model=str(tmp_path))(noise(20, 20), ["cat"])


# -- pointing


def test_points_at_the_middle_of_the_surest(weights):
    seen = point(photo("stereo_motorcycle"), "a motorbike")
    (best, *_) = detect(photo("stereo_motorcycle"), ["motorcycle"]).found
    (found,) = seen.found
    assert found.shape == best.shape.center
    assert (found.label, found.score) == ("motorcycle", best.score)
    assert seen.text == "looked for 'motorcycle'"
    crowd = next(p for p in voc.photographs(fetched("voc_photos")) if p.name == "2011_000006")
    assert point(crowd.image, "person").text == "4 found; this is the surest"


def test_pointing_at_what_is_not_there_is_an_answer(weights, checkpoints):
    seen = point(photo("rocket"), "giraffe")
    assert (seen.found, seen.text) == ((), "nothing found for 'giraffe'")
    other = point.set(backend="ground", model=checkpoints["owlv2"], threshold=1.0)
    assert other(noise(90, 60), "blue elf").text == "nothing found for 'blue elf'"
    with pytest.raises(ModelFault, match="80 kinds") as caught:
        point(noise(20, 20), "blue elf")
    assert caught.value.field == "phrase"


def test_points_by_free_phrases(checkpoints):
    by_phrase = point.set(backend="ground", model=checkpoints["grounding_dino"], threshold=0.0)
    (found,) = by_phrase(noise(90, 60), "red mug").found
    best = ground.set(model=checkpoints["grounding_dino"], threshold=0.0)(
        noise(90, 60), ["red mug"]
    )
    assert found.shape == best.found[0].shape.center
    assert isinstance(found.shape, Point)


def says(*lines):
    """The shipped policy's renderer, and an engine that says these lines."""
    renderer = load_renderer(shipped("tiny/clean"))
    engine = ScriptedEngine(lambda request: lines[0], renderer.codec, end=renderer.stop_ids[:1])
    return Policy(shipped("tiny/clean"), renderer, engine)


@pytest.mark.parametrize("answer", ["[250, 500]", '{"point_2d": [250, 500]}'])
def test_points_where_a_model_says(monkeypatch, answer):
    told = says(f"I see it.\n<answer>{answer}</answer>")
    monkeypatch.setattr(vlm_point, "policy_of", lambda *settings: told)
    by_model = point.set(backend="vlm", model="tiny/clean")
    (found,) = by_model(noise(90, 60), "the red mug").found
    assert found.shape == Point(0.25, 0.5)
    assert (found.label, found.score) == ("the red mug", None)
    ids = told.engine.requests[0].prompt.ids.tolist()
    asked = b"".join(told.renderer.codec.pieces(ids)).decode()
    assert "Point to the red mug. Answer with one point, [x, y], in thousandths" in asked


@pytest.mark.parametrize("text", ["<answer>left of it</answer>", "no idea", "<answer>[1]</answer>"])
def test_an_answer_that_names_no_point_is_told(monkeypatch, text):
    monkeypatch.setattr(vlm_point, "policy_of", lambda *settings: says(text))
    seen = point.set(backend="vlm", model="tiny/clean")(noise(90, 60), "cat")
    assert (seen.found, seen.text) == ((), "the model gave no readable point for 'cat'")


def test_a_real_model_is_asked():
    """The shipped policy was never taught to point: what it says is told, not guessed from."""
    by_model = point.set(backend="vlm", model="tiny/clean", local_files_only=True)
    assert "no readable point" in by_model(noise(96, 96), "cat").text
    assert "no readable point" in asyncio.run(asyncio.to_thread(by_model, noise(96, 96), "x")).text
    with pytest.raises(CheckpointError, match="owner/nothing"):
        point.set(backend="vlm", model="owner/nothing", local_files_only=True)(noise(9, 9), "cat")


# -- as tools


def test_they_conform(weights, checkpoints):
    check_tool(ground, {"settings": GroundSettings(model=checkpoints["owlv2"], threshold=0.1)})
    check_tool(point, {"phrase": "cat"})
    free = PointSettings(backend="ground", model=checkpoints["grounding_dino"])
    check_tool(point, {"settings": free})
    assert [t.spec.concurrency for t in (ground, point)] == [1, 1]


def test_each_says_what_it_lacks(monkeypatch, tmp_path, checkpoints):
    monkeypatch.setenv("VTOOL_MODELS", str(tmp_path))
    (lack,) = point.lacks()
    assert (lack.kind, lack.fix) == (LackKind.WEIGHTS, "vtool models fetch nanodet")
    (lack,) = ground.lacks()
    assert "ground.model=" in lack.fix
    assert ground.set(model="owner/name").lacks() == []
    assert "model is not set" in point.set(backend="ground").lacks()[0].what
    assert point.set(backend="ground", model=checkpoints["owlv2"]).lacks() == []


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("ground", {"overlap": float("nan")}, "ground.overlap needs a number"),
        ("ground", {"treshold": 0.5}, "did you mean 'threshold'"),
        ("point", {"threshold": -1.0}, "threshold needs a number"),
        ("point", {"backend": "vlmm"}, "backend"),
    ],
)
def test_settings_are_checked_when_they_are_written(name, settings, said):
    with pytest.raises(RecipeError, match=said):
        tools.get(name).set(**settings)
