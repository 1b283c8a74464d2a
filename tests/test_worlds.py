"""Every registered world: what can be reached, what chance gives, what its files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vtool.commands.data import app
from vtool.data import load_tasks
from vtool.data_check import check_data
from vtool.errors import DataError, UnknownName
from vtool.toolbox import Toolbox
from vtool.worlds.files import redraw
from vtool.worlds.measure import Share, measure_world, wilson
from vtool.worlds.without import Without
from vtool.worlds.world import worlds
from vtool.worlds.zoom import Split

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
def test_half_a_world_has_no_task_file_and_can_be_written_again(name, tmp_path, monkeypatch):
    world, dumps, left = worlds.get(name), json.dumps, [3]

    def stopped(row):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return dumps(row)

    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", stopped)
        with pytest.raises(KeyboardInterrupt):
            world.make(tmp_path / "a", seed=1, **world.sized(8))
    assert not (tmp_path / "a" / "tasks.jsonl").exists()
    for folder in "ab":
        world.make(tmp_path / folder, seed=1, **world.sized(8))
    assert read_folder(tmp_path / "a") == read_folder(tmp_path / "b")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [-1, 1 << 20])
def test_seeds_that_no_world_offers_are_told(name, seed, tmp_path):
    world = worlds.get(name)
    with pytest.raises(ValueError, match=f"seed from 0 to 1048575, got {seed}"):
        world.make(tmp_path / "a", seed=seed, **world.sized(4))
    assert not (tmp_path / "a").exists()


def test_a_split_that_owns_no_layout_is_told():
    with pytest.raises(ValueError, match="more than a few layouts"):
        redraw(lambda: ("1", None), Split.HELD_OUT)


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
    ("words", "told"),
    [
        (["depth", "--split", "test"], "expected the split train or held_out, got 'test'"),
        (["depth", "--asks", "what"], "--asks is for moments"),
        (["zoom", "--one", "1", "--asks", "what"], "--asks is for moments"),
        (["depth", "--sizes", "varied", "--suffix", "jpg"], "--sizes and --suffix: only zoom"),
        (["moments", "--photos", "bundled"], "--photos: only zoom"),
        (["mask", "--ask", "box"], "--ask: only zoom"),
        (["moments", "--videos", "1", "--asks", "what,why"], "expected questions of what, where"),
        (["moments", "--videos", "1", "--asks", "what,what"], "every question once"),
    ],
)
def test_options_that_a_world_would_not_read_are_refused(words, told, tmp_path):
    found = CliRunner().invoke(app, ["make", *words, "--out", str(tmp_path / "x")])
    assert isinstance(found.exception, DataError)
    assert told in str(found.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (95, 100, 0.8883, 0.9785)],
)
def test_wilson_intervals_are_the_published_ones(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-3)
