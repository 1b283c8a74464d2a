"""Masks go with the picture they were made on: carried where a way leads, refused elsewhere."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtool.camera import Camera
from vtool.dialects.hermes import Hermes
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask
from vtool.laying import lay_mask, way_between
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import DepthMap, Origin, Store
from vtool.toolbox import Toolbox
from vtool.transform import Affine

CROP = Box(0.5, 0.25, 1.0, 0.75)


def cells(box, size=(40, 40)):
    out = np.zeros((size[1], size[0]), bool)
    out[
        round(box.y1 * size[1]) : round(box.y2 * size[1]),
        round(box.x1 * size[0]) : round(box.x2 * size[0]),
    ] = True
    return Mask(out)


def picture(seed=0, size=(40, 40)):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image(noise)


def desk():
    """image_1, its crop image_2, a mask on each, a stranger image_3 with its own mask."""
    store = Store()
    whole = store.add(picture())
    store.add(whole.value.crop(CROP))
    same = Affine.identity()
    store.add(cells(Box(0.5, 0.25, 0.75, 0.5)), Origin("image_1", "segment", same))
    store.add(cells(Box(0, 0, 0.5, 0.5), (20, 20)), Origin("image_2", "segment", same))
    store.add(picture(1))
    store.add(cells(Box(0, 0, 0.5, 0.5)), Origin("image_3", "segment", same))
    flat = DepthMap(np.full((40, 40), 2.0, np.float32), True, Camera(40.0, 40.0, 19.5, 19.5))
    store.add(flat, Origin("image_1", "depth", same))
    return store


def run(store, name, **arguments):
    async def go():
        box = Toolbox([name])
        try:
            call = [ToolCall(name, arguments)]
            return (await box.run(call, store, Hermes(), store.size))[0].outcomes[0]
        finally:
            await box.close()

    return asyncio.run(go())


def test_a_mask_of_a_crop_lies_where_the_crop_was_cut():
    store = desk()
    laid = lay_mask(store["mask_2"].value, "mask_2", "image_1", store, "mask")
    assert laid == cells(Box(0.5, 0.25, 0.75, 0.5))


def test_a_mask_of_the_whole_is_cut_to_the_crop():
    store = desk()
    laid = lay_mask(store["mask_1"].value, "mask_1", "image_2", store, "mask")
    assert laid == cells(Box(0, 0, 0.5, 0.5), (20, 20))


def test_masks_of_a_picture_and_of_its_drawing_stay_as_they_are():
    store = desk()
    store.add(picture(2), Origin("image_1", "grid", Affine.identity()))
    mask = store["mask_1"].value
    assert lay_mask(mask, "mask_1", "image_4", store, "mask") is mask


def test_a_mask_of_another_picture_is_refused():
    with pytest.raises(ModelFault, match=r"\$mask_3 is a part of image_3") as told:
        lay_mask(desk()["mask_3"].value, "mask_3", "image_1", desk(), "mask")
    assert told.value.code is FaultCode.BAD_ARGS
    assert "image_1" in told.value.hint


def test_tools_paint_and_measure_at_the_right_place():
    store = desk()
    shown = run(store, "mask_out", image=1, mask="mask_2")
    assert shown.fault is None
    changed = (store[shown.handles[0]].value.pixels != store["image_1"].value.pixels).any(axis=2)
    inside = cells(Box(0.5, 0.25, 0.75, 0.5)).cells
    assert changed[inside].any() != changed[~inside].any()
    both = run(store, "combine_masks", first="mask_1", second="mask_2", how="intersection")
    assert store[both.handles[0]].value == store["mask_1"].value


def test_a_size_in_metres_is_that_of_the_place_itself():
    """10 pixels of 40 at 2 m and 40 pixels of focal length are half a metre, less half a pixel."""
    facts = [
        run(desk(), "object_size", depth="depth_1", mask=name).found[0].facts
        for name in ("mask_1", "mask_2")
    ]
    assert facts[0] == facts[1]
    assert facts[0]["across_m"] == pytest.approx(9 * 2 / 40)


def test_half_a_thing_is_not_measured():
    store = desk()
    near = DepthMap(np.full((20, 20), 2.0, np.float32), True, Camera(40.0, 40.0, 9.5, 9.5))
    store.add(near, Origin("image_2", "depth", Affine.identity()))
    store.add(cells(Box(0.25, 0.25, 0.75, 0.5)), Origin("image_1", "segment", Affine.identity()))
    outcome = run(store, "object_size", depth="depth_2", mask="mask_4")
    assert outcome.fault.code is FaultCode.BAD_ARGS
    assert "50%" in outcome.fault.message


def test_strangers_masks_are_refused_by_every_tool_that_takes_one():
    store = desk()
    calls = {
        "highlight": {"image": 1, "mask": "mask_3"},
        "mask_out": {"image": 1, "mask": "mask_3"},
        "show_mask": {"image": 1, "mask": "mask_3"},
        "combine_masks": {"first": "mask_1", "second": "mask_3"},
        "point_cloud": {"depth": "depth_1", "mask": "mask_3"},
        "object_size": {"depth": "depth_1", "mask": "mask_3"},
        "distance": {"depth": "depth_1", "first_mask": "mask_3"},
    }
    for name, arguments in calls.items():
        fault = run(store, name, **arguments).fault
        assert fault is not None, name
        assert fault.code is FaultCode.BAD_ARGS, name


def test_equal_masks_from_different_pictures_do_not_share_a_result():
    """The same cells and the same map: only the way between them differs."""
    store = desk()
    store.add(store["mask_2"].value, Origin("image_1", "segment", Affine.identity()))

    async def go():
        box = Toolbox(["object_size"])
        try:
            told = []
            for mask in ("mask_2", "mask_4"):
                call = [ToolCall("object_size", {"depth": "depth_1", "mask": mask})]
                said = await box.run(call, store, Hermes(), store.size)
                told.append(said[0].outcomes[0].found[0].facts["across_m"])
            return told
        finally:
            await box.close()

    crop, whole = asyncio.run(go())
    assert whole == pytest.approx(19 * 2 / 40)
    assert crop == pytest.approx(9 * 2 / 40)


@given(st.integers(0, 3), st.booleans(), st.integers(0, 9))
def test_ways_between_relatives_agree_with_the_way_to_the_source(turns, flip, seed):
    """Carried to a cousin and from there to the source, a place is where it was."""
    rng = np.random.default_rng(seed)
    store = Store()
    root = store.add(picture(size=(64, 48)))
    store.add(root.value.crop(Box(0.25, 0.25, 1.0, 1.0)))
    turned = root.value
    for _ in range(turns):
        turned = turned.rotate(90)
    store.add(turned.crop(Box(0.0, 0.0, 0.75, 0.75)) if flip else turned.crop(Box(0, 0, 1, 1)))
    way = way_between("image_2", "image_3", store)
    x, y = rng.random(2)
    up = store["image_2"].origin.transform.xy(x, y)
    across = way.xy(x, y)
    last = store["image_3"].origin
    assert (last.transform.xy(*across) if last.parent else across) == pytest.approx(up)
