"""Segmentation: what may be asked, GrabCut, masks as values."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from tiny_sam import noise
from vtool.vision_tools.backends.grabcut import GrabCut
from vtool.vision_tools.backends.prompts import Prompt, Segmented
from vtool.vision_tools.combine_masks import combine_masks
from vtool.vision_tools.measure_mask import measure_mask
from vtool.vision_tools.segment import segment
from vtool.vision_tools.segment_everything import segment_everything
from vtool.vision_tools.show_mask import show_mask

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Region, mask_iou
from vtool.media import Image
from vtool.message import ToolCall
from vtool.needs import LackKind
from vtool.store import Store
from vtool.toolbox import Toolbox


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


def test_a_small_thing_in_a_large_picture_is_cut_at_its_own_pixels():
    for x, y in ((700, 331), (701, 332), (13, 7)):
        image, truth = disc((1400, 900), (x, y), 5)
        got = segment(image, box=truth.box()).values[0]
        assert mask_iou(got, truth) > 0.95, (x, y)


@pytest.mark.parametrize("corners", [(0.301, 0.2, 0.317, 0.61), (0, 0, 0.013, 1), (0.5, 0.5, 1, 1)])
def test_the_part_that_is_looked_at_lies_where_it_was_cut(monkeypatch, corners):
    """Half a pixel decides what GrabCut's colours are learnt from."""
    seen = {}

    def whole(_, part, prompt):
        seen.update(part=part, prompt=prompt)
        return Segmented(np.ones(part.pixels.shape[:2], bool), 1.0)

    monkeypatch.setattr(GrabCut, "_whole", whole)
    box, size = Box(*corners), (513, 387)
    points = (box.center, Point(0.999, 0.001))
    cells = GrabCut().segment(noise(size), Prompt(box, points)).cells
    ys, xs = np.nonzero(cells)
    start = np.array([xs.min(), ys.min()])
    assert tuple(np.array([xs.max(), ys.max()]) + 1 - start) == seen["part"].size
    there = seen["prompt"].box_pixels(seen["part"].size).reshape(2, 2) + start
    assert there.ravel() == pytest.approx(Prompt(box).box_pixels(size), abs=1e-6)
    on, _ = seen["prompt"].point_pixels(seen["part"].size)
    assert on[0] + start == pytest.approx(np.array([box.center.x, box.center.y]) * size, abs=1e-6)


UNIT = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
POINTS = st.lists(st.builds(Point, UNIT, UNIT), max_size=3)
CORNERS = st.tuples(UNIT, UNIT, UNIT, UNIT).filter(lambda c: c[0] < c[2] and c[1] < c[3])


@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.one_of(st.none(), CORNERS),
    POINTS,
    POINTS,
    st.booleans(),
)
def test_grabcut_answers_whatever_it_is_asked(size, corners, points, exclude, plain):
    box = Box(*corners) if corners else None
    if box is None and not points:
        return
    image = Image(np.full((size[1], size[0], 3), 90, np.uint8)) if plain else noise(size)
    got = GrabCut().segment(image, Prompt(box, tuple(points), tuple(exclude)))
    assert got.cells.shape == (size[1], size[0])
    assert 0 <= got.score <= 1
    if box is not None and not points and got.cells.any():
        found = Mask(got.cells).box()
        assert found.x1 >= box.x1 - 1 / size[0]
        assert found.x2 <= box.x2 + 1 / size[0]
        assert found.y1 >= box.y1 - 1 / size[1]
        assert found.y2 <= box.y2 + 1 / size[1]


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


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"points": [[1200, 500]]}, FaultCode.BOX_OUTSIDE),
        ({"points": []}, FaultCode.BAD_ARGS),
        ({"box": [2000, 2000, 3000, 3000]}, FaultCode.BOX_OUTSIDE),
        ({"box": [500, 500, 400, 900]}, FaultCode.BAD_BOX),
        ({}, FaultCode.BAD_ARGS),
    ],
)
def test_what_a_model_asks_wrongly_is_told_to_it(given, code):
    store = Store()
    store.add(noise())
    calls = [ToolCall("segment", {"image": 1, **given})]
    (said,) = asyncio.run(Toolbox([segment]).run(calls, store, Hermes(), store.size))
    assert said.outcomes[0].fault.code == code


def test_where_nothing_comes_apart_nothing_is_made_up():
    got = segment(Image(np.full((40, 60, 3), 90, np.uint8)), box=Box(0.2, 0.2, 0.8, 0.8))
    assert (got.values, got.found, got.text) == ((), (), "nothing was cut out there")


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


@pytest.mark.parametrize(
    ("grid", "fits"),
    [
        ((75, 50), True),
        ((76, 50), True),
        ((3, 2), True),
        ((1, 1), True),
        ((1500, 1000), True),
        ((100, 150), False),
        ((150, 84), False),
        ((64, 64), False),
    ],
)
def test_a_mask_of_another_picture_is_not_laid_over_this_one(grid, fits):
    mask = Mask(np.ones((grid[1], grid[0]), bool))
    if fits:
        assert show_mask(disc()[0], mask).values[0].size == (150, 100)
    else:
        with pytest.raises(ModelFault, match="expected a mask of this picture") as fault:
            show_mask(disc()[0], mask)
        assert fault.value.code is FaultCode.BAD_ARGS
