"""Tools for looking and marking: exact pixels, limits, and where places on results lie."""

import asyncio
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import textured
from vtool.vision_tools.contact_sheet import contact_sheet
from vtool.vision_tools.draw_box import draw_box
from vtool.vision_tools.draw_line import draw_line
from vtool.vision_tools.draw_point import draw_point
from vtool.vision_tools.drawing import COLORS, Canvas, font, opposite
from vtool.vision_tools.edges import edges
from vtool.vision_tools.flip import flip
from vtool.vision_tools.grid import grid
from vtool.vision_tools.highlight import highlight
from vtool.vision_tools.magnify import magnify
from vtool.vision_tools.mask_out import mask_out
from vtool.vision_tools.rotate import rotate
from vtool.vision_tools.zoom_many import zoom_many

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import said
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Region, Unmappable
from vtool.media import MAX_PIXELS, Image
from vtool.message import Text, ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox


def picture(width=160, height=120, seed=0):
    return Image(textured(width, height, seed))


def plain(width=160, height=120, level=128):
    return Image(np.full((height, width, 3), level, np.uint8))


def changed(before, after):
    """Pixels (H, W) that differ."""
    return (before.pixels != after.pixels).any(axis=2)


def run(tool, store, **arguments):
    call = ToolCall(tool.spec.name, arguments)
    return asyncio.run(Toolbox([tool]).run([call], store, Hermes(), store.size))[0]


def filled(*values):
    store = Store()
    for value in values:
        store.add(value)
    return store


def refused(code, field, fn, *args, **kwargs):
    with pytest.raises(ModelFault) as err:
        fn(*args, **kwargs)
    assert (err.value.code, err.value.field) == (code, field)
    return err.value


def test_magnify_enlarges_the_whole_or_a_part():
    image = picture()
    whole = magnify(image, 2.5).values[0]
    assert whole.size == (400, 300)
    assert np.array_equal(whole.pixels, image.resize((400, 300)).pixels)
    part = magnify(image, 4, Box(0.25, 0.5, 0.5, 1.0)).values[0]
    assert part.size == (160, 240)
    assert np.array_equal(part.pixels, image.crop_pixels(40, 60, 80, 120).resize((160, 240)).pixels)
    small = magnify(image, 0.5)
    assert small.values[0].size == (80, 60)
    grown = magnify(image, 2, Box(0.5, 0.5, 0.51, 0.51))
    assert grown.values[0].size == (32, 32)
    assert len(grown.effective) == 1


@pytest.mark.parametrize("factor", [0.09, 16.1, 0.0, -2.0, float("nan"), float("inf")])
def test_magnify_refuses_factors_out_of_range(factor):
    refused(FaultCode.BAD_ARGS, "factor", magnify, picture(), factor)


def test_results_too_large_too_small_or_too_long_are_refused():
    wide = plain(4000, 1001)
    assert MAX_PIXELS < 4000 * 1001 * 16
    fault = refused(FaultCode.BAD_ASPECT, None, magnify, plain(3000, 10), 2.0)
    assert "6000x20" in str(fault)
    refused(FaultCode.TOO_LARGE, None, magnify, wide, 4.0)
    refused(FaultCode.TOO_SMALL, "factor", magnify, picture(), 0.1)
    refused(FaultCode.TOO_LARGE, None, rotate, plain(60_000, 1000), 45)
    refused(FaultCode.BAD_ASPECT, None, rotate, plain(2001, 10), 90)
    sheet = [plain(2048, 2048, level) for level in range(36)]
    refused(FaultCode.BAD_ARGS, "side", contact_sheet, sheet, None, 1025)


def test_rotate_turns_counter_clockwise_and_quarter_turns_are_exact():
    image = picture()
    assert np.array_equal(rotate(image, 90).values[0].pixels, np.rot90(image.pixels))
    assert np.array_equal(rotate(image, -90.0).values[0].pixels, np.rot90(image.pixels, 3))
    assert np.array_equal(rotate(image, 180).values[0].pixels, np.rot90(image.pixels, 2))
    turned = rotate(image, 30).values[0]
    assert turned.size == (200, 184)
    assert (turned.pixels[0, 0] == 255).all()
    store = filled(image)
    handle = run(rotate, store, image=1, degrees=30).outcomes[0].handles[0]
    assert isinstance(store.to_source(Region(handle, Point(0.01, 0.01))), Unmappable)
    assert store.to_source(Region(handle, Point(0.5, 0.5))).shape == Point(0.5, 0.5)


@pytest.mark.parametrize("degrees", [361, -361, float("nan")])
def test_rotate_refuses_angles_out_of_range(degrees):
    refused(FaultCode.BAD_ARGS, "degrees", rotate, picture(), degrees)


def test_flip_mirrors_and_maps_back():
    image = picture()
    across = flip(image, "horizontal").values[0]
    assert np.array_equal(across.pixels, image.pixels[:, ::-1])
    assert np.array_equal(flip(image, "vertical").values[0].pixels, image.pixels[::-1])
    store = filled(image)
    one = run(flip, store, image=1).outcomes[0].handles[0]
    two = run(flip, store, image=2, direction="vertical").outcomes[0].handles[0]
    assert store.to_source(Region(one, Box(0, 0, 0.25, 0.5))).shape == Box(0.75, 0, 1, 0.5)
    assert store.to_source(Region(two, Point(0.1, 0.2))) == Region("image_1", Point(0.9, 0.8))


def test_zoom_many_gives_each_part_as_a_picture():
    image = picture()
    boxes = [Box(0, 0, 0.5, 0.5), Box(0.5, 0.25, 1, 1)]
    seen = zoom_many(image, boxes)
    assert np.array_equal(seen.values[0].pixels, image.pixels[:60, :80])
    assert np.array_equal(seen.values[1].pixels, image.pixels[30:, 80:])
    assert seen.effective == ()
    grown = zoom_many(image, [boxes[0], Box(0.5, 0.5, 0.505, 0.505)])
    assert grown.effective[0] == boxes[0]
    assert grown.values[1].size == (16, 16)
    assert grown.effective[1].area == pytest.approx(16 * 16 / (160 * 120))
    refused(FaultCode.BAD_ARGS, "boxes", zoom_many, image, boxes * 5)
    refused(FaultCode.BAD_ARGS, "boxes", zoom_many, image, [])
    long = refused(FaultCode.BAD_ASPECT, "boxes", zoom_many, plain(8000, 32), [Box(0, 0, 1, 1)] * 2)
    assert str(long).startswith("box 1: ")


def test_edges_are_scharr_s():
    image = picture()
    grey = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY).astype(np.float64)
    kernel = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]], np.float64)
    padded = np.pad(grey, 1, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    dx, dy = (np.einsum("yxij,ij->yx", windows, k) for k in (kernel, kernel.T))
    strength = np.hypot(dx, dy)
    want = np.minimum(strength / np.percentile(strength, 99), 1) * 255
    got = edges(image).values[0].pixels
    assert got.std() > 10
    assert np.abs(got[:, :, 0] - want).max() <= 1
    assert (got[:, :, :1] == got).all()
    assert edges(plain()).values[0].pixels.max() == 0


def test_a_frame_lies_about_its_box_and_hides_nothing_of_it():
    image = plain()
    box = Box(0.25, 0.25, 0.75, 0.75)
    seen = draw_box(image, [box], color="green", width=4).values[0]
    where = changed(image, seen)
    assert not where[30:90, 40:120].any()
    assert where.sum() == (80 + 12) * (60 + 12) - 80 * 60
    for line in (seen.pixels[25:29, 40:120], seen.pixels[30:90, 121:125]):
        assert (line == COLORS["green"]).all()
    for rim in (seen.pixels[24, 80], seen.pixels[29, 80], seen.pixels[60, 125]):
        assert (rim == opposite(COLORS["green"])).all()


def test_frames_at_the_border_stay_visible():
    image = plain()
    seen = draw_box(image, [Box(0, 0, 1, 1)], width=3).values[0]
    for side in (seen.pixels[0], seen.pixels[-1], seen.pixels[:, 0], seen.pixels[:, -1]):
        assert (side == COLORS["red"]).all()
    assert not changed(image, seen)[10:-10, 10:-10].any()


@given(x=st.floats(0.2, 0.8), y=st.floats(0.2, 0.8), radius=st.integers(2, 20))
@settings(max_examples=40)
def test_a_dot_is_centred_on_its_point(x, y, radius):
    image = plain()
    seen = draw_point(image, [Point(x, y)], radius=radius).values[0]
    weight = np.abs(seen.pixels.astype(int) - 128).sum(axis=2)
    rows, columns = np.mgrid[0:120, 0:160]
    assert (columns * weight).sum() / weight.sum() + 0.5 == pytest.approx(x * 160, abs=0.3)
    assert (rows * weight).sum() / weight.sum() + 0.5 == pytest.approx(y * 120, abs=0.3)
    middle = seen.pixels[min(119, int(y * 120)), min(159, int(x * 160))]
    assert np.abs(middle.astype(int) - COLORS["red"]).max() <= 2


def test_dots_in_the_corners_are_drawn():
    image = plain()
    corners = [Point(0, 0), Point(1, 0), Point(0, 1), Point(1, 1)]
    where = changed(image, draw_point(image, corners, ["a", "b", "c", "d"]).values[0])
    assert all(where[y, x] for y in (0, -1) for x in (0, -1))


def test_a_line_goes_from_point_to_point():
    image = plain()
    seen = draw_line(image, [Point(0.1, 0.5), Point(0.9, 0.5)], width=4, color="blue").values[0]
    assert (seen.pixels[58:62, 20:140] == COLORS["blue"]).all()
    assert not changed(image, seen)[:55].any()
    assert not changed(image, seen)[:, :12].any()
    bent = [Point(0.1, 0.1), Point(0.9, 0.1), Point(0.9, 0.9)]
    open_, shut = (draw_line(image, bent, closed=c).values[0] for c in (False, True))
    assert not changed(image, open_)[60, 70:90].any()
    assert changed(image, shut)[60, 70:90].any()
    refused(FaultCode.BAD_ARGS, "points", draw_line, image, [Point(0, 0)])


@pytest.mark.parametrize("width", [0, -1, 101])
def test_widths_out_of_range_are_refused(width):
    image = picture()
    refused(FaultCode.BAD_ARGS, "width", draw_box, image, [Box(0, 0, 1, 1)], width=width)
    refused(FaultCode.BAD_ARGS, "width", draw_line, image, [Point(0, 0)] * 2, width=width)
    refused(FaultCode.BAD_ARGS, "radius", draw_point, image, [Point(0, 0)], radius=width)


def test_too_many_places_are_refused():
    image = picture()
    box, point = Box(0, 0, 1, 1), Point(0, 0)
    for fn, name, places in (
        (draw_box, "boxes", [box] * 65),
        (mask_out, "boxes", [box] * 65),
        (highlight, "boxes", [box] * 65),
        (draw_point, "points", [point] * 65),
        (draw_line, "points", [point] * 65),
    ):
        refused(FaultCode.BAD_ARGS, name, fn, image, places)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["a", "b"],
        ["x" * 41],
        ["\ud800"],
        ["two\nlines"],
        ["\u732b"],
        ["\u200b"],
        ["\U0001f600"],
    ],
)
def test_labels_that_cannot_be_drawn_are_refused(labels):
    fault = refused(
        FaultCode.BAD_ARGS, "labels", draw_box, picture(), [Box(0.2, 0.2, 0.8, 0.8)], labels
    )
    fault.to_json().encode()


@given(
    text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    x=st.floats(0, 0.99),
    y=st.floats(0, 0.99),
    size=st.tuples(st.integers(24, 200), st.integers(24, 200)),
)
@settings(max_examples=40)
def test_plain_labels_are_drawn_wherever_the_box_is(text, x, y, size):
    image = plain(*size)
    box = Box(x, y, min(1.0, x + 0.3), min(1.0, y + 0.3))
    with_label = draw_box(image, [box], [text]).values[0]
    without = draw_box(image, [box]).values[0]
    assert changed(with_label, without).any() == bool(text)


def test_labels_do_not_cover_one_another():
    canvas = Canvas(plain(300, 200))
    for _ in range(3):
        canvas.label("same place", Box(0.4, 0.4, 0.6, 0.6), COLORS["red"], 12)
    (a, b, c) = canvas._plates
    for one, two in ((a, b), (a, c), (b, c)):
        assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]


def test_the_font_comes_with_pillow_and_is_a_real_one():
    assert font(20).getlength("WWW") > 2 * font(20).getlength("iii")


def half():
    cells = np.zeros((60, 80), bool)
    cells[:, :40] = True
    return Mask(cells)


@pytest.mark.parametrize(("fill", "value"), [("black", 0), ("grey", 128), ("white", 255)])
@pytest.mark.parametrize("hide", ["inside", "outside"])
def test_mask_out_hides_exactly_the_parts(fill, value, hide):
    image = picture()
    got = mask_out(image, [Box(0.25, 0.25, 0.5, 0.5)], hide=hide, fill=fill).values[0].pixels
    inside = np.zeros((120, 160), bool)
    inside[30:60, 40:80] = True
    hidden = inside if hide == "inside" else ~inside
    assert (got[hidden] == value).all()
    assert (got[~hidden] == image.pixels[~hidden]).all()


def test_mask_out_takes_a_mask_of_a_coarser_grid_and_boxes_together():
    image = picture()
    got = mask_out(image, [Box(0.75, 0.5, 1, 1)], half()).values[0].pixels
    assert (got[:, :80] == 0).all()
    assert (got[60:, 120:] == 0).all()
    assert (got[:, 80:120] == image.pixels[:, 80:120]).all()


def test_blur_leaves_the_parts_unreadable_and_the_rest_as_it_is():
    image = picture()
    got = mask_out(image, mask=half(), fill="blur").values[0].pixels
    assert (got[:, 80:] == image.pixels[:, 80:]).all()
    grain = np.abs(np.diff(got[:, 10:70].astype(int), axis=1)).mean()
    assert grain < np.abs(np.diff(image.pixels[:, 10:70].astype(int), axis=1)).mean() / 5


def test_highlight_dims_the_rest():
    image = picture()
    got = highlight(image, mask=half(), dim=0.5).values[0].pixels
    assert (got[:, :80] == image.pixels[:, :80]).all()
    assert np.abs(got[:, 80:] - image.pixels[:, 80:] / 2).max() <= 0.5


@pytest.mark.parametrize("tool", [mask_out, highlight])
def test_masks_of_other_pictures_and_empty_ones_are_refused(tool):
    image = picture()
    other = Mask(np.ones((80, 80), bool))
    refused(FaultCode.BAD_ARGS, "mask", tool, image, None, other)
    refused(FaultCode.BAD_ARGS, "mask", tool, image, None, Mask(np.zeros((60, 80), bool)))
    refused(FaultCode.BAD_ARGS, "boxes", tool, image)
    rounded = Mask(np.ones((40, 53), bool))
    tool(image, None, rounded)


@pytest.mark.parametrize("dim", [0.0, 1.0, float("nan")])
def test_highlight_refuses_what_shows_or_leaves_nothing(dim):
    refused(FaultCode.BAD_ARGS, "dim", highlight, picture(), [Box(0, 0, 1, 1)], dim=dim)


def test_a_mask_made_by_an_earlier_call_is_named_by_its_handle():
    store = filled(picture(), half())
    message = run(mask_out, store, image=1, mask="$mask_1")
    got = store.image(message.outcomes[0].handles[0]).pixels
    assert (got[:, :80] == 0).all()
    assert (got[:, 80:] == store.image("image_1").pixels[:, 80:]).all()


def test_grid_says_where_its_columns_and_rows_lie():
    store = filled(picture(320, 240))
    message = run(grid, store, image=1, columns=4)
    words = [p.text for p in said(message, Hermes(), store, store.size) if isinstance(p, Text)]
    lines = [line for line in "".join(words).splitlines() if line.startswith("{")]
    told = {body["label"]: body["box"] for body in map(json.loads, lines)}
    assert list(told) == [*(f"column {c}" for c in "ABCD"), *(f"row {r}" for r in (1, 2, 3))]
    assert told["column C"] == [500, 0, 750, 1000]
    assert told["row 2"] == [0, 333, 1000, 667]


def test_grid_lines_lie_where_it_says():
    image = plain(320, 240)
    where = changed(image, grid(image, 4, 3).values[0])
    assert {i for i in range(320) if where[:, i].all()} >= {80, 160, 240}
    assert not where[:, [40, 110, 200, 290]].all(axis=0).any()
    assert {i for i in range(240) if where[i].all()} >= {80, 160}
    assert not where[40:78, 40:78].any()


@pytest.mark.parametrize(("columns", "rows"), [(1, None), (27, None), (4, 1), (4, 27), (0, 4)])
def test_grids_out_of_range_are_refused(columns, rows):
    with pytest.raises(ModelFault, match="from 2 to 26"):
        grid(picture(2000, 2000), columns, rows)


def test_grids_of_cells_too_small_to_read_are_refused():
    fault = refused(FaultCode.TOO_SMALL, "columns", grid, picture(), 8)
    assert "magnify" in fault.hint


def test_contact_sheet_shows_each_picture_in_its_cell():
    pictures = [picture(160, 120, 1), picture(60, 200, 2), picture(100, 100, 3)]
    store = filled(*pictures)
    message = run(contact_sheet, store, images=[2, 3, 1], columns=2, side=100)
    sheet = store[message.outcomes[0].handles[0]]
    cells = {tile.parent: tile.cell for tile in sheet.origin.tiles}
    for handle in ("image_1", "image_2", "image_3"):
        shown = sheet.value.crop(cells[handle])
        image = store.image(handle)
        share = min(1.0, 100 / max(image.size))
        want = image.resize(tuple(round(s * share) for s in image.size))
        assert np.array_equal(shown.pixels, want.pixels)
    at = cells["image_3"].center
    assert store.to_source(Region(sheet.handle, at)).media == "image_3"
    assert isinstance(store.to_source(Region(sheet.handle, Point(0, 0))), Unmappable)
    assert "1 to 3" in message.text


@given(
    sizes=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=2, max_size=9),
    columns=st.one_of(st.none(), st.integers(1, 10)),
    side=st.integers(48, 200),
)
@settings(max_examples=30)
def test_cells_of_a_sheet_never_meet_and_never_leave_it(sizes, columns, side):
    pictures = [plain(w, h, 10 * i) for i, (w, h) in enumerate(sizes)]
    sheet = contact_sheet(pictures, columns, side)
    cells = [way.cell for way in sheet.ways[0]]
    assert len(cells) == len(pictures)
    assert all(a.overlap(b) == 0 for i, a in enumerate(cells) for b in cells[:i])
    for image, cell in zip(pictures, cells, strict=True):
        assert (sheet.values[0].crop(cell).pixels == image.pixels[0, 0]).all()


def test_contact_sheet_refuses_too_few_and_too_many():
    refused(FaultCode.BAD_ARGS, "images", contact_sheet, [picture()])
    refused(FaultCode.BAD_ARGS, "images", contact_sheet, [picture()] * 37)
    refused(FaultCode.BAD_ARGS, "columns", contact_sheet, [picture()] * 2, 0)


def test_the_same_picture_may_stand_on_a_sheet_twice():
    store = filled(picture())
    handle = run(contact_sheet, store, images=[1, 1], columns=2).outcomes[0].handles[0]
    for x in (0.25, 0.75):
        assert store.to_source(Region(handle, Point(x, 0.6))).media == "image_1"
