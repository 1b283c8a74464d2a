"""A recipe trains in a registered world, with the tools that the world brings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from toy_run import toy_recipe
from vtool.rl.assembly import open_tasks, write_world
from vtool.rl.recipe import DataSpec
from vtool.rl.train import train

from vtool.data import load_tasks
from vtool.environment import ToolEnvironment
from vtool.errors import RecipeError, UnknownName
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
