"""Regions: conventions round-trip, and maps back to the source are exact."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtool.errors import FaultCode, GeometryError
from vtool.geometry import (
    Box,
    Convention,
    Mask,
    Point,
    Region,
    Span,
    Units,
    Unmappable,
    coverage,
    iou,
    mask_iou,
    span_iou,
)
from vtool.media import Image
from vtool.store import Origin, Store
from vtool.transform import Affine

unit = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw, least=1e-3):
    x1, x2 = sorted((draw(unit), draw(unit)))
    y1, y2 = sorted((draw(unit), draw(unit)))
    x2, y2 = min(1.0, max(x2, x1 + least)), min(1.0, max(y2, y1 + least))
    return Box(min(x1, x2 - least), min(y1, y2 - least), x2, y2)


sizes = st.tuples(st.integers(50, 4000), st.integers(50, 4000))


@given(boxes(least=0.05), sizes, sizes, st.sampled_from(Units), st.sampled_from(["xyxy", "xywh"]))
def test_boxes_round_trip_in_all_units_and_orders(box, original, shown, units, order):
    canvas = (840, 640) if units is Units.CANVAS else None
    conv = Convention(units, order, canvas)
    raw = conv.write_box(box, original=original, shown=shown)
    back = conv.read_box(raw, original=original, shown=shown)
    sx, sy = conv.scale(original=original, shown=shown)
    # One raw unit of rounding an edge, twice for width and height.
    grid = 1e-4 if units is Units.UNIT else 1.0
    for a, b, s in zip(
        (box.x1, box.y1, box.x2, box.y2),
        (back.x1, back.y1, back.x2, back.y2),
        (sx, sy) * 2,
        strict=True,
    ):
        assert abs(a - b) * s <= 1.0001 * grid


@given(st.tuples(unit, unit), sizes, st.sampled_from(Units))
def test_points_round_trip_in_all_units(xy, size, units):
    canvas = (512, 512) if units is Units.CANVAS else None
    conv = Convention(units, canvas=canvas)
    point = Point(*xy)
    back = conv.read_point(
        conv.write_point(point, original=size, shown=size), original=size, shown=size
    )
    sx, sy = conv.scale(original=size, shown=size)
    assert abs(point.x - back.x) * sx <= 0.51
    assert abs(point.y - back.y) * sy <= 0.51


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ((500, 100, 100, 500), FaultCode.BAD_BOX),
        ((100, 100, 100, 500), FaultCode.BAD_BOX),
        ((1100, 1100, 1200, 1200), FaultCode.BOX_OUTSIDE),
        ((-50, -50, 0, 0), FaultCode.BOX_OUTSIDE),
        ((math.nan,) * 4, FaultCode.BAD_BOX),
        ((0, 0, math.inf, 10), FaultCode.BAD_BOX),
        ((1, 2, 3), FaultCode.BAD_BOX),
    ],
    ids=["inverted", "empty", "outside", "touching", "nan", "inf", "three"],
)
def test_boxes_that_do_not_exist_are_typed_errors(raw, code):
    with pytest.raises(GeometryError) as err:
        Convention().read_box(raw, original=(640, 480))
    assert err.value.code is code


def test_a_box_that_reaches_over_is_cut_at_the_border():
    box = Convention().read_box([900, -100, 1200, 500], original=(100, 100))
    assert box == Box(0.9, 0.0, 1.0, 0.5)


def test_shown_units_need_a_showing():
    with pytest.raises(GeometryError, match="never shown"):
        Convention(Units.SHOWN).read_box([1, 2, 3, 4], original=(640, 480))
    seen = Convention(Units.SHOWN).read_box([32, 32, 64, 64], original=(640, 480), shown=(64, 64))
    assert seen == Box(0.5, 0.5, 1.0, 1.0)


@given(boxes(), boxes())
def test_iou_is_symmetric_bounded_and_one_on_itself(a, b):
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert 0 <= iou(a, b) <= 1 + 1e-12
    assert iou(a, a) == pytest.approx(1)
    assert coverage(a, Box(0, 0, 1, 1)) == pytest.approx(1)


def test_masks_and_spans():
    cells = np.zeros((4, 8), bool)
    cells[1:3, 2:6] = True
    assert Mask(cells).box() == Box(0.25, 0.25, 0.75, 0.75)
    assert mask_iou(Mask(cells), Mask(cells)) == 1
    assert mask_iou(Mask(np.zeros((4, 8), bool)), Mask(np.zeros((4, 8), bool))) == 0
    assert span_iou(Span(0, 2), Span(1, 3)) == pytest.approx(1 / 3)
    with pytest.raises(GeometryError):
        Span(3, 2)
    with pytest.raises(GeometryError, match="empty"):
        Mask(np.zeros((2, 2), bool)).box()


# --- back to the source ----------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("crop"), boxes(least=0.3)),
        st.tuples(st.just("resize"), st.tuples(st.integers(20, 200), st.integers(20, 200))),
        st.tuples(st.just("rotate"), st.sampled_from([90.0, 180.0, 270.0, 17.0, -45.0])),
    ),
    min_size=1,
    max_size=5,
)


def marked(size, at):
    """A picture whose channels tell, smoothly, where each pixel is."""
    w, h = size
    x = np.broadcast_to(np.linspace(0, 255, w), (h, w))
    y = np.broadcast_to(np.linspace(0, 255, h)[:, None], (h, w))
    return Image(np.stack([x, y, np.full((h, w), at)], -1).round().astype(np.uint8))


@settings(max_examples=60)
@given(steps, st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)))
def test_random_programs_map_back_within_one_source_pixel(program, probe):
    """The store's map is checked against what the pixels themselves say."""
    source = marked((256, 256), 77)
    store = Store()
    store.add(source)
    image, handle = source, "image_1"
    for name, arg in program:
        image = store[handle].value
        step = {"crop": image.crop, "resize": image.resize, "rotate": image.rotate}[name](arg)
        handle = store.add(step, Origin(parent=handle)).handle
    final = store[handle].value
    w, h = final.size
    col, row = min(int(probe[0] * w), w - 1), min(int(probe[1] * h), h - 1)
    region = Region(handle, Point((col + 0.5) / w, (row + 0.5) / h))
    place = store.to_source(region)
    r, g, b = (int(v) for v in final.pixels[row, col])
    if isinstance(place, Unmappable) or b != 77 or min(w, h) < 24:
        return  # outside the source: white corner of a turn, or too few pixels to tell
    assert place.media == "image_1"
    # Blending of bicubic resampling and 8-bit rounding cost up to the pixels of one final cell.
    cell = Affine.identity()
    chain, at = cell, handle
    while store[at].origin.parent:
        chain, at = chain.then(store[at].origin.transform), store[at].origin.parent
    blur = 256 * (abs(chain.a) / w + abs(chain.b) / h + abs(chain.d) / w + abs(chain.e) / h)
    # Each resampling rounds to 8 bits: half a grey level, which is half a source pixel here.
    rounds = sum(name != "crop" for name, _ in program)
    slack = 1.0 + 0.5 * rounds + max(0.0, blur - 1.0) * 1.5
    assert abs(place.shape.x * 255 - r) <= slack
    assert abs(place.shape.y * 255 - g) <= slack


@given(steps)
def test_transforms_invert(program):
    """Child to source to child is the identity, for any program."""
    store = Store()
    handle = store.add(marked((200, 100), 0)).handle
    chain = Affine.identity()
    for name, arg in program:
        image = store[handle].value
        step = {"crop": image.crop, "resize": image.resize, "rotate": image.rotate}[name](arg)
        entry = store.add(step, Origin(parent=handle))
        chain = entry.origin.transform.then(chain)
        handle = entry.handle
    for x, y in ((0.1, 0.9), (0.5, 0.5), (1.0, 0.0)):
        assert chain.inverse().xy(*chain.xy(x, y)) == pytest.approx((x, y), abs=1e-9)


def test_a_crop_of_a_rotated_crop_maps_to_the_source():
    source = Image(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    store = Store()
    store.add(source)
    cut = store.add(source.crop_pixels(40, 20, 120, 80), Origin(parent="image_1"))
    turned = store.add(cut.value.rotate(90), Origin(parent=cut.handle))
    last = store.add(turned.value.crop_pixels(10, 30, 20, 50), Origin(parent=turned.handle))
    place = store.to_source(Region(last.handle, Box(0, 0, 1, 1)))
    # A quarter turn counter-clockwise: column c of the result is row c of the crop, row r of the
    # result is column 80 - 1 - r of it.
    x0, y0, x1, y1 = 40 + 80 - 50, 20 + 10, 40 + 80 - 30, 20 + 20
    corners = (place.shape.x1, place.shape.y1, place.shape.x2, place.shape.y2)
    assert corners == pytest.approx((x0 / 160, y0 / 120, x1 / 160, y1 / 120))
    direct = source.pixels[y0:y1, x0:x1]
    assert np.array_equal(np.rot90(direct), last.value.pixels)


def test_what_has_no_map_is_unmappable():
    store = Store()
    store.add(marked((50, 50), 0))
    store.add(Image(np.zeros((9, 9, 3), np.uint8)), Origin(parent="image_1", tool="collage"))
    answer = store.to_source(Region("image_2", Point(0.5, 0.5)))
    assert isinstance(answer, Unmappable)
    assert "image_1" in answer.reason


def test_masks_map_back_through_a_crop():
    store = Store()
    store.add(marked((100, 100), 0))
    cut = store.add(store.image("image_1").crop_pixels(50, 50, 100, 100), Origin(parent="image_1"))
    cells = np.zeros((10, 10), bool)
    cells[:5, :5] = True
    place = store.to_source(Region(cut.handle, Mask(cells)))
    assert place.shape.box() == Box(0.5, 0.5, 0.75, 0.75)
