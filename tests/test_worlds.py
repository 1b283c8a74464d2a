"""Every registered world: what can be reached, what chance gives, what its files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vtool.commands.data import app
from vtool.data import load_tasks
from vtool.data_check import check_data
from vtool.errors import UnknownName
from vtool.toolbox import Toolbox
from vtool.worlds.measure import Share, measure_world, wilson
from vtool.worlds.without import Without
from vtool.worlds.world import worlds

NAMES = worlds.names()
FEW = 20
CONTROLS = [c.value for c in Without]


@pytest.fixture(scope="module", params=NAMES)
def measured(request) -> tuple[str, dict[str, Share]]:
    return request.param, measure_world(request.param, FEW, seed=11)


def test_the_scripted_best_is_the_best_that_can_be(measured):
    name, found = measured
    bound = worlds.get(name).bound
    low, high = found["best"].interval
    assert found["best"].value >= 0.95 if bound == 1 else low <= bound <= high, found["best"]


def test_controls_leave_what_the_first_look_leaves(measured):
    name, found = measured
    world = worlds.get(name)
    for control in CONTROLS:
        low, high = wilson(found[control].right, found[control].count, z=3.3)
        if world.needs_tool:
            assert low <= world.chance <= high, (control, found[control])
        else:
            assert found[control].value >= found["best"].value - 0.05, control


def test_knowing_nothing_is_no_better_than_chance(measured):
    name, found = measured
    low, _ = wilson(found["random"].right, found["random"].count, z=3.3)
    assert low <= worlds.get(name).chance
    assert found["random"].value < found["best"].value


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_a_function_of_the_seed_and_pass_the_check(name, tmp_path):
    world = worlds.get(name)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        world.make(tmp_path / folder, seed=seed, **world.sized(4))
    a, b, c = (read_folder(tmp_path / f) for f in "abc")
    assert a == b != c
    report = check_data(tmp_path / "a" / "tasks.jsonl")
    assert report.ok, report.findings
    assert not report.findings
    with pytest.raises(FileExistsError, match="empty folder"):
        world.make(tmp_path / "a", seed=1, **world.sized(4))


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_nothing(name, tmp_path):
    world, keys, media = worlds.get(name), {}, {}
    for split in ("train", "held_out"):
        path = world.make(tmp_path / split, seed=3, split=split, **world.sized(24))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        keys[split] = {row["tags"]["layout"] for row in rows}
        media[split] = {m.digest for t in load_tasks(path) for m in t.media}
        assert all(row["tags"]["split"] == split for row in rows)
    assert not keys["train"] & keys["held_out"]
    assert not media["train"] & media["held_out"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_all_tools_of_a_world_at_once(name):
    box = Toolbox([f"world:{name}"])
    assert box.specs == Toolbox(worlds.get(name).tools).specs


def test_the_commands_list_and_write_worlds(tmp_path):
    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["worlds", "--json"]).stdout)
    assert [w["name"] for w in listed] == NAMES
    out = str(tmp_path / "box")
    made = runner.invoke(app, ["make", "box", "--out", out, "--count", "3"])
    assert "3 questions" in made.stdout
    unknown = runner.invoke(app, ["make", "bax", "--out", str(tmp_path / "x")])
    assert isinstance(unknown.exception, UnknownName)
    assert "box" in str(unknown.exception)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (95, 100, 0.8883, 0.9785)],
)
def test_wilson_intervals_are_the_published_ones(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-3)
