import json
import struct

import numpy as np
import pytest
import raycast
from hypothesis import given, settings
from hypothesis import strategies as st
from raycast import BALL, FLOOR, ball, metres_in, place_of, scene
from vtool.vision_tools.backends import cloud as clouds
from vtool.vision_tools.backends.gap import closest
from vtool.vision_tools.backends.minimal_box import around
from vtool.vision_tools.backends.plane import fit
from vtool.vision_tools.cloud_distance import cloud_distance
from vtool.vision_tools.depth_at import depth_at
from vtool.vision_tools.distance import distance
from vtool.vision_tools.fit_plane import fit_plane
from vtool.vision_tools.object_size import object_size
from vtool.vision_tools.oriented_box import oriented_box
from vtool.vision_tools.point_cloud import point_cloud
from vtool.vision_tools.show_depth import show_depth

from vtool.camera import Camera
from vtool.cloud_file import write_glb, write_ply
from vtool.errors import FaultCode, MediaError, ModelFault, RecipeError
from vtool.geometry import Mask, Point
from vtool.store import Cloud, DepthMap
from vtool.tool import choose

# Points in space


def test_every_pixel_with_a_depth_becomes_its_point():
    depth = scene()
    (got,) = point_cloud(depth).values
    on_floor = np.abs(got.points @ FLOOR[0] - FLOOR[1]) < 1e-3
    on_ball = np.abs(np.linalg.norm(got.points - BALL[0], axis=1) - BALL[1]) < 1e-3
    assert (on_floor | on_ball).all()
    assert on_ball.sum() == pytest.approx(ball().cells.sum(), abs=2)
    assert len(got.points) == depth.valid.sum() < depth.values.size
    assert f"{depth.valid.sum()} of {depth.values.size} pixels" in point_cloud(depth).text
    (part,) = point_cloud(depth, ball()).values
    assert len(part.points) == ball().cells.sum()


def test_pixels_without_depth_are_left_out_and_counted():
    values = np.full((4, 5), 2.0, np.float32)
    values[0, 0], values[1, 1], values[2, 2], values[3, 3] = np.nan, 0, -1, np.inf
    depth = DepthMap(values, True, Camera.centred(10, (5, 4)))
    seen = point_cloud(depth)
    assert len(seen.values[0].points) == 16
    assert seen.text.startswith("16 of 20 pixels used; 4 ")
    assert DepthMap(values).valid.sum() == 18


def test_masks_of_another_grid_fall_on_the_same_places():
    cells = np.zeros((2, 2), bool)
    cells[0, 1] = True
    depth = DepthMap(np.ones((6, 4), np.float32), True, Camera.centred(5, (4, 6)))
    taken = clouds.fit_mask(Mask(cells), depth, "mask")
    assert taken[:3, 2:].all()
    assert taken.sum() == 6


def test_fields_of_view_and_focal_lengths_agree():
    camera = Camera.seeing(90, (200, 100))
    assert camera.fx == camera.fy == pytest.approx(100)
    assert (camera.cx, camera.cy) == (99.5, 49.5)
    edge = camera.lift(np.array([199.5]), np.array([49.5]), np.array([3.0]))
    assert edge[0] == pytest.approx([3, 0, 3])
    for bad in (0, 180, np.nan):
        with pytest.raises(MediaError):
            Camera.seeing(bad, (4, 4))
    with pytest.raises(MediaError, match="focal"):
        Camera(0, 1, 2, 3)


# Metric questions


def test_points_on_a_slanted_floor_are_as_far_apart_as_they_are():
    a, b = np.array([-0.3, 0.0, 2.5]), np.array([0.9, 0.0, 3.4])
    for p in (a, b):
        p[1] = (FLOOR[1] - FLOOR[0][2] * p[2]) / FLOOR[0][1]
    seen = distance(scene(), place_of(a), place_of(b))
    assert metres_in(seen.text)[0] == pytest.approx(np.linalg.norm(a - b), abs=1e-3)
    assert seen.found[0].facts["from_camera_m"] == pytest.approx(np.linalg.norm(a), abs=1e-3)
    assert seen.found[1].facts["depth_m"] == pytest.approx(b[2], abs=1e-3)
    exact = clouds.lift_point(scene(), place_of(a), "first")
    assert exact == pytest.approx(a, abs=1e-5)


def test_a_place_on_an_edge_takes_no_depth_from_beyond_it():
    values = np.full((10, 10), 1.0, np.float32)
    values[:, 5:] = 4.0
    depth = DepthMap(values, True, Camera.centred(20, (10, 10)))
    near = clouds.lift_point(depth, Point(0.499, 0.5), "first")
    far = clouds.lift_point(depth, Point(0.501, 0.5), "first")
    assert (near[2], far[2]) == (1.0, 4.0)
    for corner in (Point(0, 0), Point(1, 1)):
        assert clouds.lift_point(depth, corner, "first")[2] in (1.0, 4.0)


def test_from_the_camera_to_a_point_and_to_a_mask():
    seen = distance(scene(), place_of((0.1, 0.0, 2.0)))
    front = np.linalg.norm(BALL[0]) - BALL[1]
    assert metres_in(seen.text)[0] == pytest.approx(front, abs=1e-3)
    told = distance(scene(), first_mask=ball())
    assert front < metres_in(told.text)[0] < front + BALL[1]
    assert told.found[0].shape == ball()


def plates():
    """Two upright plates, 0.5 m apart sideways and 0.3 m in depth, before a far wall."""
    camera = Camera.centred(1500.0, (1200, 400))
    ray = raycast.rays(camera, (1200, 400))
    near = raycast.box(ray, (-0.4, 0, 2.0), np.eye(3), (0.3, 0.2, 1e-9))
    far = raycast.box(ray, (0.4, 0, 2.3), np.eye(3), (0.3, 0.2, 1e-9))
    depth = raycast.depth_map([near, far, raycast.plane(ray, (0, 0, 1), 9.0)], camera)
    return depth, Mask(np.isfinite(near)), Mask(np.isfinite(far))


def test_the_gap_between_masks_is_that_of_their_closest_points():
    depth, near, far = plates()
    gap, middles = metres_in(distance(depth, first_mask=near, second_mask=far).text)[:2]
    footprint = 2.3 / 1500
    assert gap == pytest.approx(np.hypot(0.5, 0.3), abs=2 * footprint)
    assert middles == pytest.approx(np.hypot(0.8, 0.3), abs=footprint)
    a, b = (Cloud(clouds.lift(depth, m.cells).astype(np.float32)) for m in (near, far))
    told = metres_in(cloud_distance(a, b).text)
    assert told[0] == pytest.approx(gap, abs=1e-3)


def test_size_of_a_plate_whose_mask_bleeds_into_the_background():
    depth, near, _ = plates()
    cells = near.cells.copy()
    edge = np.roll(cells, 3, axis=1) | np.roll(cells, -3, axis=1)
    bled = Mask(cells | edge)
    exact, seen = object_size(depth, near), object_size(depth, bled)
    facts = exact.found[0].facts
    assert facts["size_m"][:2] == pytest.approx([0.3, 0.2], abs=2e-3)
    assert facts["size_m"][2] == pytest.approx(0, abs=1e-6)
    assert (facts["across_m"], facts["down_m"]) == pytest.approx((0.3, 0.2), abs=2e-3)
    assert seen.found[0].facts == facts
    assert f"{bled.cells.sum() - cells.sum()} without depth or far off" in seen.text
    assert object_size(depth, near).found[0].shape == near


def test_a_box_seen_by_three_sides_is_measured_and_turned_as_it_is():
    camera = Camera.centred(1400.0, (900, 700))
    ray = raycast.rays(camera, (900, 700))
    axes, size = raycast.rotation(0.6, 0.5, 0.2), (0.3, 0.2, 0.12)
    z = raycast.box(ray, (0.02, -0.01, 1.0), axes, size)
    depth = raycast.depth_map(z, camera)
    (cloud,) = point_cloud(depth).values
    seen = oriented_box(cloud)
    (row,) = seen.values[0].rows
    assert row["size_m"] == pytest.approx(size, abs=1.5e-3)
    assert np.abs(np.array(row["axes"]) @ axes.T) == pytest.approx(np.eye(3), abs=5e-3)
    assert row["centre_m"] == pytest.approx([0.02, -0.01, 1.0], abs=1.5e-3)
    assert np.linalg.det(row["axes"]) == pytest.approx(1, abs=1e-4)


def test_the_floor_is_found_under_the_ball_and_taken_away():
    (cloud,) = point_cloud(scene()).values
    seen = fit_plane.set(within_m=0.005)(cloud)
    floor, rest = seen.values
    plane = fit(cloud.points.astype(float), within=0.005, tries=200, seed=0)
    assert plane.normal == pytest.approx(FLOOR[0], abs=1e-4)
    assert plane.offset == pytest.approx(FLOOR[1], abs=1e-3)
    assert metres_in(seen.text)[0] == pytest.approx(-1.2, abs=1e-3)
    assert f"{np.degrees(0.3):.1f} degrees" in seen.text
    assert np.abs(np.linalg.norm(rest.points - BALL[0], axis=1) - BALL[1]).max() < 1e-3
    assert len(floor.points) + len(rest.points) == len(cloud.points)
    again = fit_plane.set(within_m=0.005, seed=5)(cloud)
    assert len(again.values[0].points) == len(floor.points)


def test_a_plane_is_found_among_as_many_wild_points():
    rng = np.random.default_rng(0)
    flat = np.c_[rng.uniform(-1, 1, (400, 2)), rng.normal(3, 0.003, 400)]
    wild = rng.uniform([-1, -1, 2], [1, 1, 4], (600, 3))
    plane = fit(np.concatenate([flat, wild]), within=0.01, tries=500, seed=0)
    assert plane.normal == pytest.approx([0, 0, -1], abs=5e-3)
    assert plane.offset == pytest.approx(-3, abs=2e-3)
    assert plane.inside[:400].mean() > 0.99
    assert plane.inside[400:].mean() < 0.05


@pytest.mark.parametrize(
    "points", [np.zeros((5, 3)), np.arange(9.0).reshape(3, 3), np.ones((2, 3))]
)
def test_points_on_a_line_span_no_plane(points):
    with pytest.raises(ModelFault) as fault:
        fit_plane(Cloud(points.astype(np.float32)))
    assert fault.value.code is FaultCode.BAD_ARGS


# Properties


@settings(max_examples=20)
@given(st.integers(0, 2**20), st.floats(0.1, 20))
def test_metres_scale_with_the_scene_and_do_not_depend_on_the_order_of_points(seed, scale):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) * [1, 0.6, 0.3] + [0, 0, 4]
    mixed = rng.permutation(points)
    box, bigger = around(points), around(mixed * scale)
    assert bigger.size == pytest.approx(box.size * scale, rel=1e-3)
    gap = closest(points[:25], points[25:]).distance
    assert closest(rng.permutation(points[:25]) * scale, points[25:] * scale).distance == (
        pytest.approx(gap * scale)
    )
    depth = scene()
    larger = DepthMap(depth.values * np.float32(scale), True, depth.camera)
    p, q = Point(*rng.uniform(0.2, 0.8, 2)), Point(*rng.uniform(0.4, 0.8, 2))
    a, b = (clouds.lift_point(depth, w, "first") for w in (p, q))
    c, d = (clouds.lift_point(larger, w, "first") for w in (p, q))
    assert np.linalg.norm(c - d) == pytest.approx(np.linalg.norm(a - b) * scale, rel=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 2**20))
def test_boxes_turn_with_their_points_and_hold_them_all(seed):
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), -1).reshape(-1, 3)
    size = np.sort(rng.uniform(0.05, 2, 3))[::-1]
    axes = raycast.rotation(*rng.uniform(-3, 3, 3))
    points = np.concatenate([corners, rng.uniform(-0.5, 0.5, (30, 3))]) * size @ axes + rng.normal()
    found = around(points)
    assert found.size == pytest.approx(size, abs=1e-5)
    assert (np.abs((points - found.centre) @ found.axes.T) <= found.size / 2 + 1e-9).all()


@given(st.integers(0, 2**20), st.integers(1, 700), st.integers(1, 700))
def test_the_closest_pair_is_the_closest(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) * 0.5 + [1, 0, 0]
    away = np.linalg.norm(a[:, None] - b[None], axis=-1)
    gap = closest(a, b)
    assert gap.distance == away.min() == away[gap.first, gap.second]


@pytest.mark.parametrize("seed", range(5))
def test_the_closest_pair_is_found_beyond_the_nearest_blocks(seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.uniform(0, [9, 9, 0.3], (2000, 3)) for _ in range(2))
    b[:, 2] += 1
    away = np.linalg.norm(a[:, None] - b[None], axis=-1)
    assert closest(a, b).distance == away.min()


# Never a guess


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: distance(d, Point(0.5, 0.5), Point(0.6, 0.6)),
        lambda d: distance(d, first_mask=ball()),
        lambda d: object_size(d, ball()),
        lambda d: point_cloud(d),
    ],
)
def test_no_metres_without_metres_and_a_camera(ask):
    for depth, word in ((scene(metric=False), "metres"), (scene(camera=None), "focal")):
        with pytest.raises(ModelFault, match=word) as fault:
            ask(depth)
        assert fault.value.code is FaultCode.UNAVAILABLE
    ask(scene())


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: distance(d),
        lambda d: distance(d, Point(0.01, 0.01)),
        lambda d: distance(d, Point(0.5, 0.5), first_mask=ball()),
        lambda d: distance(d, first_mask=Mask(np.zeros((3, 3), bool))),
        lambda d: object_size(d, Mask(np.eye(120, 160, dtype=bool) & ~d.valid)),
        lambda d: depth_at(d, [Point(0.01, 0.01)]),
        lambda d: cloud_distance(Cloud(np.zeros((0, 3), np.float32)), Cloud(np.ones((1, 3), "f4"))),
        lambda d: oriented_box(Cloud(np.full((2, 3), np.nan, np.float32))),
        lambda d: show_depth(DepthMap(np.full((3, 3), np.nan, np.float32))),
    ],
)
def test_what_cannot_be_answered_is_the_model_s_fault(ask):
    depth = scene()
    assert not depth.valid[1, 1]
    with pytest.raises(ModelFault) as fault:
        ask(depth)
    assert fault.value.code is FaultCode.BAD_ARGS


def test_places_are_ordered_by_depth_with_and_without_metres():
    places = [place_of((0, 0.6, 3)), Point(0.01, 0.01), place_of((0.1, 0.0, 2.0))]
    seen = depth_at(scene(metric=False, camera=None), places)
    assert seen.found[0].label == "point 3"
    assert seen.found[0].facts == {"relative_depth": pytest.approx(1.6, abs=0.01)}
    assert "depth_m" in depth_at(scene(), places).found[0].facts


@pytest.mark.parametrize(
    "what",
    [
        {"stereo_depth": {"baseline_m": 0.0}},
        {"stereo_depth": {"disparities": 20}},
        {"stereo_depth": {"block": 4}},
        {"depth": {"focal_px": -1.0}},
        {"depth": {"focal_px": 10.0, "view_degrees": 60.0}},
        {"depth": {"view_degrees": 180.0}},
        {"depth": {"says": "guess"}},
        {"fit_plane": {"tries": 0}},
        {"distance": {"spread": 0.0}},
        {"object_size": {"spread": float("nan")}},
        {"parallax": {"tolerance_px": 0.0}},
    ],
)
def test_settings_that_mean_nothing_are_refused_when_they_are_written(what):
    with pytest.raises(RecipeError, match=next(iter(next(iter(what.values()))))):
        choose(what)


# Files for people


def test_ply_files_hold_the_points(tmp_path):
    (cloud,) = point_cloud(scene()).values
    write_ply(cloud, tmp_path / "a.ply")
    head, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    assert head.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert f"element vertex {len(cloud.points)}\n".encode() in head
    assert np.array_equal(np.frombuffer(body, "<f4").reshape(-1, 3), cloud.points)


def test_glb_files_hold_the_points_with_y_up(tmp_path):
    (cloud,) = point_cloud(scene()).values
    write_glb(cloud, tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert (kind, size % 4) == (b"JSON", 0)
    told = json.loads(data[20 : 20 + size])
    binary, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert (kind, binary) == (b"BIN\0", told["buffers"][0]["byteLength"])
    points = np.frombuffer(data[28 + size :], "<f4").reshape(-1, 3)
    assert np.array_equal(points * [1, -1, -1], cloud.points)
    accessor = told["accessors"][told["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert accessor["count"] == len(points)
    assert np.array_equal(np.float32(accessor["min"]), points.min(axis=0))
    assert np.array_equal(np.float32(accessor["max"]), points.max(axis=0))
    colors = np.arange(points.size, dtype=np.uint8).reshape(points.shape)
    write_glb(cloud, tmp_path / "c.glb", colors)
    data = (tmp_path / "c.glb").read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    view = json.loads(data[20 : 20 + size])["bufferViews"][1]
    binary = data[28 + size :][view["byteOffset"] :][: view["byteLength"]]
    assert np.array_equal(np.frombuffer(binary, np.uint8).reshape(-1, 4)[:, :3], colors)
    with pytest.raises(MediaError, match="colours need shape"):
        write_glb(cloud, tmp_path / "d.glb", colors[:-1])
    with pytest.raises(MediaError, match="at least one"):
        write_glb(Cloud(np.zeros((0, 3), np.float32)), tmp_path / "b.glb")
