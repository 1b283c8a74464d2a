"""A recipe trains in a registered world, with the tools that the world brings."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from toy_run import toy_recipe
from vtool.rl.assembly import open_tasks
from vtool.rl.dry_run import check_parts
from vtool.rl.methods.questions import filed
from vtool.rl.recipe import DataSpec, load_recipe
from vtool.rl.train import train
from vtool.rl.world_files import write_world

from vtool.data import load_tasks
from vtool.environment import ToolEnvironment
from vtool.errors import DataError, RecipeError, UnknownName
from vtool.pairs import render_pair
from vtool.programs.solo import play
from vtool.seat import Seat
from vtool.toolbox import Toolbox
from vtool.trace import read_trace
from vtool.worlds.program import ProgramEngine, Use
from vtool.worlds.props import FAILED
from vtool.worlds.world import worlds


def test_a_run_in_the_flaky_world_records_its_tool(tmp_path):
    recipe = toy_recipe(
        steps=1,
        trace_every=1,
        data=DataSpec(world="flaky", options={"seed": 1, "count": 6}),
        tools=("world:flaky",),
    )
    assert train(recipe, tmp_path).finished
    episodes = [r.episode for r in read_trace(tmp_path / "trace" / "step-000001")]
    assert episodes
    assert {e.runtime["tools"]["zoom"] for e in episodes} == {"flaky-1"}


def test_a_world_of_a_recipe_is_read_from_the_registry(tmp_path):
    spec = DataSpec(world="depth", options={"seed": 2, "count": 2})
    tasks = open_tasks(spec, tmp_path)
    assert [t.tags["world"] for t in tasks] == ["depth", "depth"]
    with pytest.raises(UnknownName, match="depth"):
        write_world(DataSpec(world="deph"), tmp_path / "other")
    with pytest.raises(RecipeError, match="videos"):
        write_world(DataSpec(world="depth", options={"videos": 2}), tmp_path / "third")


def test_several_worlds_of_a_recipe_are_one_task_file(tmp_path):
    """Rows of every world, their media found, options shared and own; made alike or refused."""
    several = {"depth": {"count": 2}, "zoom": {"one": 3}, "moments": {"videos": 1, "seed": 5}}
    spec = DataSpec(worlds=several, options={"seed": 2, "split": "held_out"})
    tasks = open_tasks(spec, tmp_path)
    found = Counter(t.tags["world"] for t in tasks)
    assert found == {"depth": 2, "zoom": 3, "moments": 4}
    assert {t.tags["split"] for t in tasks} == {"held_out"}
    alone = open_tasks(
        DataSpec(world="depth", options={"seed": 2, "split": "held_out", "count": 2}),
        tmp_path / "a",
    )
    assert [t.media[0].digest for t in alone] == [t.media[0].digest for t in tasks[:2]]
    assert len(open_tasks(spec, tmp_path)) == len(tasks)
    with pytest.raises(DataError, match="made with"):
        open_tasks(DataSpec(worlds={"depth": {"count": 3}}), tmp_path)
    with pytest.raises(RecipeError, match=r"depth: .*videos"):
        open_tasks(DataSpec(worlds={"depth": {"videos": 2}}), tmp_path / "b")
    with pytest.raises(UnknownName, match="depth"):
        open_tasks(DataSpec(worlds={"deph": {}}), tmp_path / "c")


def test_several_worlds_are_written_in_a_recipe_and_checked_before_anything_is_played():
    changes = ["data={worlds: {box: {count: 3}, page: {count: 2}}, options: {seed: 4}}"]
    recipe = load_recipe("zoom", changes)
    assert recipe.data.worlds["page"] == {"count": 2}
    check_parts(recipe)
    with pytest.raises(RecipeError, match=r"data\.options"):
        check_parts(load_recipe("zoom", ["data={worlds: {box: {cuont: 3}}, options: {}}"]))


def test_a_ground_is_one_world(tmp_path):
    with pytest.raises(RecipeError, match="one world, not box, page"):
        filed(DataSpec(worlds={"box": {}, "page": {}}), tmp_path)


def test_an_unknown_world_of_tools_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="flaky"):
        Toolbox(["world:flakey"])


def test_tools_have_another_luck_in_every_task():
    """Evaluation plays the first attempt of every task: a tool that draws must not fail in all."""
    world = worlds.get("flaky")
    seen = []
    with TemporaryDirectory() as folder:
        tasks = load_tasks(world.make(Path(folder) / "w", seed=2, count=40))
        for task in tasks:
            env = ToolEnvironment(task, Toolbox(world.tools), seed=0)
            seat = Seat("policy", render_pair("plain", "hermes"), ProgramEngine(one_look, 0))
            episode = asyncio.run(play(env, {"policy": seat}, key=(0, 0)))
            seen.append(FAILED in str(episode.path_messages()))
    assert 10 <= sum(seen) <= 30


def one_look(look):
    """Look once, whatever is asked."""
    yield Use("zoom", image=1, box=[100, 100, 400, 400])
    return "0"
