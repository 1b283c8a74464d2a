"""What the first look must not tell, and tools that worlds bring."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vtool.errors import ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.observation import Call
from vtool.toolbox import Toolbox
from vtool.worlds import depth, detect, mask
from vtool.worlds.drawing import COLORS, PALETTE, draw_disc, plain_background
from vtool.worlds.eyes import cover, read_digit, spots
from vtool.worlds.hidden import GREY, SIDE, noise
from vtool.worlds.icons import KINDS, find_icons, icon, icon_detector, stamp
from vtool.worlds.measure import measure_tasks, wilson
from vtool.worlds.player import play_world
from vtool.worlds.program import Use, as_shown
from vtool.worlds.props import FAILED, empty_zoom, flaky_zoom, misleading_zoom
from vtool.worlds.world import World, worlds
from vtool.worlds.zoom import Split
from vtool.worlds.zoom import draw as draw_scene

ROOT = Path(__file__).parent.parent


def first_looks(world, seed: int):
    sample = world.draw(np.random.default_rng(seed), Split.TRAIN)
    return sample, [as_shown(Image(p)).astype(int) for p in sample.pictures]


def test_the_first_look_at_a_pair_is_plain_grey():
    for seed in range(20):
        _, (left, right) = first_looks(depth, seed)
        assert (right == GREY).all()
        marks = np.zeros((64, 64), bool)
        for color in COLORS:
            for x1, y1, x2, y2 in spots(left.astype(np.uint8), color):
                cells = [round(v * 64) for v in (x1, y1, x2, y2)]
                marks[max(0, cells[1] - 3) : cells[3] + 3, max(0, cells[0] - 3) : cells[2] + 3] = 1
        assert (left == GREY)[~marks].all()


def test_a_pair_is_one_scene_moved_by_what_it_says():
    sample, _ = first_looks(depth, 1)
    left, right = sample.pictures
    for (x1, y1, x2, y2), shift in zip(sample.evidence, sample.tags["disparities"], strict=True):
        corner = left[y1 : y1 + 12, x1 : x1 + 12]
        assert (right[y1 : y1 + 12, x1 - shift : x1 - shift + 12] == corner).all()
        assert x2 - x1 == y2 - y1 == depth.PLATE * 6
    assert len(set(sample.tags["disparities"])) == 2


def test_the_first_look_at_shapes_shows_their_marks_alone():
    for seed in range(5):
        sample, (view,) = first_looks(mask, seed)
        off = np.abs(view - GREY).max(2)
        assert 30 <= (off > 12).sum() <= 2 * 36
        marks = off > 0
        assert marks.sum() <= 2 * 64
        sizes = sample.tags["blocks"]
        covered = [(b[2] - b[0]) * (b[3] - b[1]) / 36 for b in sample.evidence]
        assert all(size <= box for size, box in zip(sizes, covered, strict=True))


def test_icons_are_alike_from_afar_and_found_from_near():
    looks = []
    for kind in KINDS:
        page = plain_background((SIDE, SIDE), (225, 230, 228))
        stamp(page, kind, (60, 120))
        looks.append(as_shown(Image(page)).astype(int))
        assert [k for k in KINDS if find_icons(page, k)] == [kind]
        assert find_icons(page, kind) == [(60, 120)]
        assert icon(kind).sum() == 72
    assert max(np.abs(a - b).max() for a in looks for b in looks) <= 1 < detect.GRAIN


def test_noise_has_no_part_that_is_brighter():
    made = noise(np.random.default_rng(0))[:, :, 0].astype(float)
    assert (made.reshape(192, 2, 192, 2).mean((1, 3)) == GREY).all()
    assert made.std() > 12


def test_the_detector_says_what_it_is_and_refuses_what_it_does_not_know():
    tool = icon_detector()
    assert tool.spec.version == "rendered-1"
    assert "Stands in" in tool.spec.description
    assert not tool.lacks()
    page = Image(plain_background((SIDE, SIDE), (220, 220, 220)))
    assert "no bars found" in tool(image=page, labels=["bars"]).text
    with pytest.raises(ModelFault, match="kinds out of"):
        tool(image=page, labels=["dog"])


def test_the_record_says_which_tool_it_was():
    versions = {name: Toolbox(worlds.get(name).tools).runtime["tools"] for name in worlds}
    assert versions["detect"] == {"detect": "rendered-1"}
    assert versions["flaky"] == {"zoom": "flaky-1"}
    assert versions["useless"] == {"zoom": "empty-1"}
    assert versions["misleading"] == {"zoom": "misleading-1"}
    assert versions["zoom"] == {"zoom": "1"}


def test_the_flaky_zoom_fails_half_of_the_time_by_its_seed():
    tool, picture = flaky_zoom(), Image(draw_scene(0).pixels)
    box = Box(0.1, 0.1, 0.4, 0.4)

    def fails(seed: int) -> bool:
        return getattr(tool.fn(image=picture, box=box, call=Call(seed, {})), "text", "") == FAILED

    found = [fails(seed) for seed in range(200)]
    assert found == [fails(seed) for seed in range(200)]
    low, high = wilson(sum(found), 200, z=3.3)
    assert low <= 0.5 <= high


def test_what_the_empty_and_the_misleading_zoom_show():
    scene = draw_scene(3, kind="none")
    picture, whole = Image(scene.pixels), Box(0.0, 0.0, 1.0, 1.0)
    assert set(np.unique(empty_zoom()(image=picture, box=whole).pixels)) == {128}
    shown = misleading_zoom()(image=picture, box=whole).values[0].pixels
    disc = scene.discs[0]
    x, y = 384 - int(disc.x), 384 - int(disc.y)
    seen = Image(shown[y - 15 : y + 15, x - 15 : x + 15])
    other = COLORS[(COLORS.index(disc.color) + 1) % len(COLORS)]
    assert cover(as_shown(Image(shown)), other).sum() > 10
    assert seen.size == (30, 30)


def test_who_believes_the_misleading_zoom_is_wrong():
    world = worlds.get("misleading")

    def believer(look):
        seen = yield Use("zoom", image=1, box=[0, 0, 1000, 1000])
        again = type(look)(look.words, seen.pictures, (), look.tools, look.rng)
        try:
            next(world.best(again))
        except StopIteration as end:
            return end.value

    assert worth(world, believer) < 0.2 < worth(world, world.best)


def worth(world: World, program) -> float:
    import tempfile

    from vtool.data import load_tasks

    with tempfile.TemporaryDirectory() as folder:
        tasks = list(load_tasks(world.make(Path(folder) / "w", seed=2, **world.sized(16))))
        played = play_world(world, tasks, program)
    return sum(p.right for p in played) / len(played)


def test_digits_are_read_in_every_colour():
    for number, color in enumerate(COLORS * 3):
        page = plain_background((50, 50), (230, 232, 229))
        draw_disc(page, (25, 25), 20, PALETTE[color], number % 10, 2)
        assert read_digit(as_shown(Image(page))) == str(number % 10), (color, number)
    assert read_digit(np.full((64, 64, 3), 128, np.uint8)) is None


# ------------------------------------------------------------ a world of one's own


def own_world():
    spec = importlib.util.spec_from_file_location("own_world", ROOT / "scripts" / "own_world.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_of_the_page_is_a_world(tmp_path):
    from vtool.data import load_tasks

    world = own_world().MINE
    tasks = list(load_tasks(world.make(tmp_path / "w", seed=1, split="held_out", count=24)))
    found = measure_tasks(world, tasks)
    assert found["best"].value >= 0.95
    for control in ("off", "blank", "shuffled"):
        low, high = wilson(found[control].right, found[control].count, z=3.3)
        assert low <= world.chance <= high


def test_a_published_world_comes_through_the_entry_point(tmp_path):
    site = tmp_path / "site"
    info = site / "mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vtool.worlds]\nmine = own_world:MINE\n")
    (site / "own_world.py").write_text((ROOT / "scripts" / "own_world.py").read_text())
    program = (
        "from vtool.cli import main\n"
        f"main(['data', 'make', 'mine', '--out', {str(tmp_path / 'made')!r}, '--count', '2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert "2 questions in" in done.stdout, done.stderr
    assert len((tmp_path / "made" / "tasks.jsonl").read_text().splitlines()) == 2


def test_the_page_is_what_the_code_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "world_pages.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_no_two_worlds_are_told_in_the_same_words():
    text = (ROOT / "docs" / "worlds" / "index.md").read_text(encoding="utf-8")
    sections = text.partition("## The worlds")[2].split("### ")[1:]
    told = {part.split()[0]: part.split("\n\n")[1:3] for part in sections}
    assert sorted(told) == worlds.names()
    for which in (0, 1):
        said = [paragraphs[which] for paragraphs in told.values()]
        assert len(set(said)) == len(said), said


def test_a_sample_of_the_other_split_is_refused(tmp_path):
    from vtool.worlds.files import Sample, maker

    pixels = plain_background((64, 64), (230, 230, 230))
    make = maker("odd", lambda rng, split: Sample((pixels,), "?", {"answer": "1"}, "1"))
    with pytest.raises(ValueError, match="other split"):
        make(tmp_path / "a", seed=0, count=1, split="held_out")
    with pytest.raises(ValueError, match="at least one question"):
        make(tmp_path / "b", seed=0, count=0)
