import asyncio
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from raycast import CAMERA, ball, metres_in, place_of, scene
from vtool.vision_tools.backends.colormap import DIRECTION, paint, render
from vtool.vision_tools.cloud_distance import cloud_distance
from vtool.vision_tools.depth_at import depth_at
from vtool.vision_tools.distance import distance
from vtool.vision_tools.fit_plane import fit_plane
from vtool.vision_tools.object_size import object_size
from vtool.vision_tools.oriented_box import oriented_box
from vtool.vision_tools.point_cloud import point_cloud
from vtool.vision_tools.show_depth import show_depth

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.geometry import Box, Point, Region, Unmappable
from vtool.media import Image
from vtool.message import ToolCall
from vtool.record import Episode
from vtool.store import Cloud, DepthMap, Store, value_digest
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter, read_trace

# Colours


def test_the_direction_of_nearness_is_told_in_one_place_and_is_what_is_painted():
    near, far, unknown = paint(np.array([0.95, 0.1, np.nan])).astype(int)
    assert near[0] > 150 > max(near[1], near[2]) + 60
    assert far[2] > 150 > far[0] + 60
    assert len(set(unknown)) == 1
    assert DIRECTION == "red is near, blue is far, grey is unknown"
    assert DIRECTION in show_depth.spec.description
    assert DIRECTION in show_depth(scene()).text
    words = re.compile(r"(red|blue|warm|cold|bright|dark)\w* (is|are|means) (near|far|close)")
    tools = Path(__file__).parent.parent / "vision_tools"
    said = [p.name for p in tools.rglob("*.py") if words.search(p.read_text())]
    assert said == ["colormap.py"]


def test_the_table_is_turbo():
    turbo = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    ours = paint(np.arange(256) / 255)
    assert np.abs(ours.astype(int) - turbo[:, 0, ::-1]).max() <= 7


@pytest.mark.parametrize("shape", [(300, 500), (30, 40), (1, 1)])
def test_the_map_fills_its_cell_and_nothing_of_it_is_hidden(shape):
    values = np.linspace(1, 5, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    picture, cell = render(DepthMap(values, True))
    width, height = picture.size
    part = picture.pixels[: round(cell.y2 * height), : round(cell.x2 * width)]
    assert part.shape[0] % shape[0] == part.shape[1] % shape[1] == 0
    step = part.shape[0] // shape[0]
    rows = part[step // 2 :: step, step // 2 :: step]
    if values.size > 1:
        spread = np.percentile(values, (2, 98))
        assert np.array_equal(rows, paint(1 - (values - spread[0]) / (spread[1] - spread[0])))
    margin = picture.pixels[:, part.shape[1] :]
    assert (margin == 0).all(axis=2).sum() > 50


def test_flat_and_partly_unknown_maps_are_shown():
    values = np.full((20, 20), 2.0, np.float32)
    values[5, 5] = np.nan
    picture, _ = render(DepthMap(values))
    assert len(np.unique(picture.pixels[:240, :240].reshape(-1, 3), axis=0)) == 2


def test_places_on_the_shown_depth_lead_to_the_photograph_and_the_bar_leads_nowhere():
    store = Store()
    photo = store.add(Image(np.zeros((120, 160, 3), np.uint8)))
    store.add(scene())
    toolbox = Toolbox([show_depth])
    call = ToolCall("show_depth", {"depth": "$depth_1"})
    (message,) = asyncio.run(toolbox.run([call], store, Hermes(), store.size))
    (handle,) = message.outcomes[0].handles
    (way,) = show_depth(scene()).ways[0]
    x, y = way.cell.x2, way.cell.y2
    got = store.to_source(Region(handle, Box(0.25 * x, 0.5 * y, 0.5 * x, y)))
    assert got.media == "depth_1"
    assert (got.shape.x1, got.shape.y1) == pytest.approx((0.25, 0.5))
    assert (got.shape.x2, got.shape.y2) == pytest.approx((0.5, 1))
    assert isinstance(store.to_source(Region(handle, Box(x + 0.01, 0, 1, 1))), Unmappable)
    assert photo.handle == "image_1"


# The record


def test_a_camera_is_part_of_a_depth_map_in_the_trace_too(tmp_path):
    plain = scene(camera=None)
    assert value_digest(plain) != value_digest(scene())
    store = Store()
    store.add(plain)
    store.add(scene())
    with TraceWriter(tmp_path) as writer:
        writer.write(Episode(task_id="a", store=store))
    (back,) = read_trace(tmp_path)
    first, second = (e.value for e in back.episode.store)
    assert first.camera is None
    assert second.camera == CAMERA
    assert np.array_equal(second.values, scene().values, equal_nan=True)


def test_calls_by_handle_and_places_in_the_model_s_coordinates():
    store = Store()
    store.add(scene())
    store.add(ball())
    toolbox = Toolbox([distance, object_size, point_cloud, fit_plane])
    a, b = place_of((0.1, 0, 2.0)), Point(0.5, 0.95)
    calls = [
        ToolCall(
            "distance",
            {"depth": "depth_1", "first": [a.x * 1000, a.y * 1000], "second": [b.x * 1000, 950]},
        ),
        ToolCall("object_size", {"depth": "$depth_1", "mask": "$mask_1"}),
        ToolCall("point_cloud", {"depth": "$depth_1"}),
    ]
    said = asyncio.run(toolbox.run(calls, store, Hermes(), store.size))
    assert said[0].outcomes[0].found[0].region.shape == a
    assert metres_in(said[0].text) == metres_in(distance(scene(), a, b).text)
    assert said[1].outcomes[0].found[0].facts["down_m"] > 0.7
    assert "$cloud_1" in said[2].text
    plane = asyncio.run(
        toolbox.run([ToolCall("fit_plane", {"cloud": "$cloud_1"})], store, Hermes(), store.size)
    )
    assert plane[0].outcomes[0].handles == ("cloud_2", "cloud_3")


@pytest.mark.parametrize(
    ("tool", "sample"),
    [
        (show_depth, {"depth": scene()}),
        (depth_at, {"depth": scene(), "points": [Point(0.5, 0.9)]}),
        (point_cloud, {"depth": scene()}),
        (fit_plane, {"cloud": Cloud(np.eye(4, 3, dtype=np.float32))}),
        (oriented_box, {"cloud": Cloud(np.eye(4, 3, dtype=np.float32))}),
        (
            cloud_distance,
            {"first": Cloud(np.eye(3, dtype="f4")), "second": Cloud(-np.eye(3, dtype="f4"))},
        ),
        (distance, {"depth": scene(), "first": Point(0.5, 0.9)}),
        (object_size, {"depth": scene(), "mask": ball()}),
    ],
)
def test_each_tool_can_be_offered(tool, sample):
    assert tool.lacks() == []
    check_tool(tool, sample)
