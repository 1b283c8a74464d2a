import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from vtool.commands.data import app as data_app
from vtool.data import load_tasks
from vtool.data_check import check_data
from vtool.worlds.dataset import ASKS, draw_many, make
from vtool.worlds.drawing import COLORS, PALETTE, glyph
from vtool.worlds.photos import divide, read_photos
from vtool.worlds.zoom import FIXED, SIZES, Kind, Split, draw, quadrant, split_of


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("size", SIZES)
def test_a_scene_holds_what_its_question_asks_for(kind: Kind, size: tuple[int, int]):
    for seed in range(8):
        scene = draw(seed, kind=kind, size=size)
        factor = 2 if kind is Kind.TWO else 1
        assert scene.pixels.shape == (factor * size[1], factor * size[0], 3)
        assert len(scene.path) == kind.zooms
        x1, y1, x2, y2 = scene.target.box
        height, width = scene.pixels.shape[:2]
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        if kind is Kind.TWO:
            outer = scene.path[0]
            assert outer[0] < x1 < x2 < outer[2]
            assert outer[1] < y1 < y2 < outer[3]
        if kind is not Kind.NONE:
            assert scene.answer == str(scene.target.digit)
            assert scene.target.color in scene.question


def test_the_colour_question_has_one_answer():
    asked = 0
    for seed in range(80):
        scene = draw(seed, kind="none")
        if not scene.question.startswith("what colour"):
            continue
        asked += 1
        there = [d for d in scene.discs if quadrant(d.x / 384, d.y / 384) in scene.question]
        assert [d.color for d in there] == [scene.answer]
    assert asked > 15


def test_the_target_is_drawn_with_its_colour_and_digit():
    for seed in range(20):
        scene = draw(seed)
        disc = scene.target
        cx, cy = int(disc.x), int(disc.y)
        assert tuple(scene.pixels[int(disc.y - disc.radius + 3), cx]) == PALETTE[disc.color]
        ink = glyph(disc.digit, 2)
        top, left = round(disc.y - 7), round(disc.x - 5)
        patch = scene.pixels[top : top + 14, left : left + 10].sum(2) == 0
        assert (patch == ink).all(), (seed, cx, cy)


def test_digits_differ_from_each_other():
    assert len({glyph(d).tobytes() for d in range(10)}) == 10


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**60), st.sampled_from(list(Kind)), st.sampled_from(list(Split)))
def test_the_same_seed_gives_the_same_pixels(seed: int, kind: Kind, split: Split):
    first, second = (draw(seed, kind=kind, split=split) for _ in range(2))
    assert (first.pixels == second.pixels).all()
    assert (first.question, first.answer, first.path) == (
        second.question,
        second.answer,
        second.path,
    )


def test_splits_share_no_layout_and_no_background():
    counts = {"none": 150, "one": 150, "two": 60}
    made = {split: list(draw_many(seed=7, counts=counts, split=split)) for split in Split}
    for name in ("layout", "background"):
        train, held = ({getattr(s, name) for s in made[split]} for split in Split)
        assert not train & held
        assert all(split_of(key) is Split.HELD_OUT for key in held)
        assert all(split_of(key) is Split.TRAIN for key in train)
    pixels = {split: {s.pixels.tobytes() for s in scenes} for split, scenes in made.items()}
    assert not pixels[Split.TRAIN] & pixels[Split.HELD_OUT]


def test_different_seeds_give_different_pictures():
    made = [s.pixels.tobytes() for seed in (0, 1) for s in draw_many(seed=seed, counts={"one": 30})]
    assert len(set(made)) == 60


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("sizes", "suffix", "with_photos"),
    [("fixed", "png", False), ("varied", "jpg", False), ("fixed", "jpg", True)],
)
def test_make_is_bit_reproducible(tmp_path: Path, sizes: str, suffix: str, with_photos: bool):
    photos = photo_folder(tmp_path / "photos") if with_photos else None
    options = {"none": 2, "one": 3, "two": 2, "sizes": sizes, "suffix": suffix, "photos": photos}
    for name in ("a", "b"):
        make(tmp_path / name, seed=3, **options)
    first, second = read_folder(tmp_path / "a"), read_folder(tmp_path / "b")
    assert first == second
    assert len(first) == 8
    make(tmp_path / "c", seed=4, **options)
    assert read_folder(tmp_path / "c") != first


def test_a_task_line_is_what_a_user_would_bring(tmp_path: Path):
    tasks = make(tmp_path, seed=0, none=1, one=1, two=1, split="held_out")
    lines = [json.loads(line) for line in tasks.read_text().splitlines()]
    assert [line["tags"]["zooms"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert (tmp_path / line["images"][0]).is_file()
        assert line["messages"][0]["role"] == "user"
        assert line["messages"][0]["content"].startswith("<image>")
        assert len(line["evidence"]) == line["tags"]["zooms"]
        with Image.open(tmp_path / line["images"][0]) as image:
            assert list(image.size) == line["tags"]["size"]
    assert len({line["id"] for line in lines}) == 3


def photo_folder(folder: Path, count: int = 8) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        small = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(small).resize((500, 430)).save(folder / f"{i}.jpg")
    return folder


def test_photographs_of_the_two_splits_are_disjoint(tmp_path: Path):
    photos = read_photos(photo_folder(tmp_path / "photos"))
    train, held = (divide(photos, split) for split in Split)
    assert len(train) == 6
    assert len(held) == 2
    keys = [{p.tobytes() for p in part} for part in (train, held)]
    assert not keys[0] & keys[1]
    # The order and the names of the files do not matter.
    again = divide(photos[::-1], Split.HELD_OUT)
    assert {p.tobytes() for p in again} == keys[1]
    backgrounds = [
        {draw(i, split=split, photos=part).background for i in range(12)}
        for split, part in ((Split.TRAIN, train), (Split.HELD_OUT, held))
    ]
    assert not backgrounds[0] & backgrounds[1]


def test_bundled_photographs_are_real_jpegs(tmp_path: Path):
    pytest.importorskip("skimage")
    from vtool.worlds.photos import BUNDLED, write_bundled_photos

    written = write_bundled_photos(tmp_path)
    assert len(written) == len(BUNDLED)
    assert all(p.read_bytes()[:2] == b"\xff\xd8" for p in written)
    assert all(min(p.shape[:2]) >= 290 for p in read_photos(tmp_path))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda folder: draw(0, objects=9), ValueError, "objects"),
        (lambda folder: draw(0, frames=5), ValueError, "frames"),
        (lambda folder: make(folder, seed=0, sizes="odd"), ValueError, "varied"),
        (lambda folder: make(folder, seed=0, suffix="gif"), ValueError, "png"),
        (lambda folder: make(folder, seed=0, ask="what"), ValueError, "one of digit"),
        (lambda folder: make(folder, seed=0, none=1, ask="levels"), ValueError, "no digit"),
        (lambda folder: read_photos(folder), FileNotFoundError, "two photographs"),
        (lambda folder: divide([np.zeros((4, 4, 3), np.uint8)] * 2, "train"), ValueError, "got 1"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, call, error, says: str):
    with pytest.raises(error, match=says):
        call(tmp_path)


def test_an_existing_task_file_is_left_alone(tmp_path: Path):
    make(tmp_path, seed=0, one=1)
    with pytest.raises(FileExistsError, match="empty folder"):
        make(tmp_path, seed=0, one=1)


def test_the_palette_is_what_the_questions_name():
    assert len(COLORS) == 8
    assert FIXED == (384, 384)


def test_what_is_asked_becomes_the_reference(tmp_path: Path):
    found = {}
    for ask in ASKS:
        made = make(tmp_path / ask, seed=5, none=0, one=2, two=1, ask=ask)
        assert check_data(made).ok, ask
        found[ask] = [load_tasks(made)[i] for i in range(3)]
    digits = [t.reference.texts[0] for t in found["digit"]]
    assert [t.reference.texts[0] for t in found["calls"]] == digits
    assert sorted(len(t.calls) for t in found["calls"]) == [1, 1, 2]
    parity = ["even" if int(d) % 2 == 0 else "odd" for d in digits]
    assert [t.reference.values["parity"] for t in found["attributes"]] == [(p,) for p in parity]
    for task, digit in zip(found["levels"], digits, strict=True):
        assert {digit} == set(task.tags["city"]) < set(task.tags["state"])
        assert set(task.tags["state"]) < set(task.tags["country"])
    for task in found["box"]:
        (box,) = task.reference.boxes
        look = task.evidence[-1].shape
        assert look.x1 <= box.x1 < box.x2 <= look.x2
        assert look.y1 <= box.y1 < box.y2 <= look.y2


def test_the_wanted_calls_show_the_target(tmp_path: Path):
    """Zooming as the row says, the last picture is the place of the evidence."""
    task = load_tasks(make(tmp_path, seed=5, none=0, one=0, two=1, ask="calls"))[0]
    x1, y1, x2, y2 = 0.0, 0.0, 1.0, 1.0
    for number, call in enumerate(task.calls, 1):
        assert call.name == "zoom"
        assert call.arguments["image"] == f"image_{number}"
        a, b, c, d = call.arguments["bbox"]
        w, h = x2 - x1, y2 - y1
        x1, y1, x2, y2 = x1 + a * w, y1 + b * h, x1 + c * w, y1 + d * h
    place = task.evidence[-1].shape
    wanted = (place.x1, place.y1, place.x2, place.y2)
    assert (x1, y1, x2, y2) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["zoom", "--count", "3"], 3),
        (["zoom", "--one", "2", "--two", "1"], 3),
        (["box", "--count", "2"], 2),
        (["moments", "--count", "5", "--asks", "what,when"], 6),
    ],
)
def test_as_many_questions_as_were_asked_for(tmp_path, words, rows):
    done = CliRunner().invoke(data_app, ["make", *words, "--out", str(tmp_path / "w"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == rows


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["zoom", "--count", "3", "--one", "2"], "they say the same"),
        (["box", "--one", "2"], "only zoom has such questions"),
        (["zoom", "--videos", "2"], "--videos is for moments"),
        (["zoom", "--none", "0", "--one", "0"], "no question was asked for"),
    ],
)
def test_counts_that_would_not_be_read_are_refused(tmp_path, words, told):
    done = CliRunner().invoke(data_app, ["make", *words, "--out", str(tmp_path / "w")])
    assert told in str(done.exception)
    assert not (tmp_path / "w").exists()
