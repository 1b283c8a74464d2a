"""Runs: what they leave, what they repeat and what they say."""

import dataclasses
import json

import numpy as np
import psutil
import pytest
import torch
import worker_tools
from toy_run import told, toy_recipe, trained
from vtool.rl.assembly import open_tasks
from vtool.rl.checkpoint import Checkpoints
from vtool.rl.dry_run import dry_run
from vtool.rl.metrics_log import read_metrics
from vtool.rl.recipe import DataSpec, EvalSpec, load_recipe, recipe_names
from vtool.rl.run import SESSIONS
from vtool.rl.train import train
from vtool.rl.trainer import Trainer

from vtool.dialects.hermes import Hermes
from vtool.errors import DataError, RecipeError, UnknownName
from vtool.families.vlm import VLM
from vtool.message import ToolCall
from vtool.shipped import shipped
from vtool.store import Store
from vtool.tool import tools
from vtool.trace import read_trace


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    steps = []
    result = train(toy_recipe(trace_every=2), out, on_step=lambda n, m: steps.append((n, dict(m))))
    return out, result, steps


def test_a_run_leaves_what_it_says(whole):
    out, result, steps = whole
    assert result.finished
    assert result.exit_code == 0
    assert result.steps == 4
    assert [n for n, _ in steps] == [1, 2, 3, 4] == [m["step"] for m in read_metrics(out)]
    assert result.model == out / "model"
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["seed"] == 0
    assert len(recipe["data_digest"]) == 64
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-000002", "step-000004"]
    assert not (out / "run.lock").exists()


def test_metrics_hold_what_the_table_shows(whole):
    _, _, steps = whole
    wanted = {
        "reward/total", "reward/part/format", "reward/part/answer", "accuracy", "tool_rate",
        "valid_call_rate", "turns", "dead_groups", "lr", "time/generate", "time/tools",
        "time/train", "time/other", "time/step",
    }  # fmt: skip
    for _, metrics in steps:
        assert wanted <= metrics.keys()
    learnt = [m for _, m in steps if "loss" in m]
    assert learnt, "no step of the toy run had a group that told good from bad"
    for metrics in learnt:
        assert {"entropy", "grad_norm", "step_distance", "skipped"} <= metrics.keys()
        assert metrics["mismatch_max"] < 1e-4
        assert metrics["step_distance"] > 0


def test_the_trained_model_is_a_plain_checkpoint_and_has_moved(whole):
    out, _, _ = whole
    before = VLM.load(shipped("tiny/weak")).model.state_dict()
    after = VLM.load(out / "model").model.state_dict()
    assert any(not torch.equal(p, before[n]) for n, p in after.items())
    assert (out / "model" / "tokenizer.json").is_file()
    assert (out / "model" / "vtool.json").is_file()


def test_the_trace_holds_a_steps_groups(whole):
    out, _, steps = whole
    folders = sorted(p.name for p in (out / "trace").iterdir())
    assert folders == ["step-000001", "step-000002", "step-000004"]
    records = list(read_trace(out / "trace" / "step-000004"))
    assert len(records) == 6
    assert len({r.task_id for r in records}) == 2
    assert [r.meta["attempt"] for r in records] == [0, 1, 2, 0, 1, 2]
    rewards = [r.score.total for r in records]
    assert np.mean(rewards) == pytest.approx(steps[-1][1]["reward/total"])


def test_equal_seeds_give_equal_bits_and_others_do_not(whole, tmp_path):
    out, _, _ = whole
    train(toy_recipe(), tmp_path / "again")
    assert trained(tmp_path / "again") == trained(out)
    assert told(tmp_path / "again") == told(out)
    train(toy_recipe(seed=1), tmp_path / "other")
    assert trained(tmp_path / "other") != trained(out)


def test_a_run_that_is_done_is_not_done_again(whole):
    out, _, _ = whole
    before = trained(out)
    result = train(toy_recipe(trace_every=2), out, on_step=lambda n, m: pytest.fail("stepped"))
    assert result.finished
    assert trained(out) == before


def test_numbers_on_held_out_tasks_change_nothing(whole, tmp_path):
    out, _, _ = whole
    held = DataSpec(options={"seed": 9, "one": 4, "split": "held_out"})
    spec = EvalSpec(every=2, count=3, data=held)
    train(toy_recipe(eval=spec), tmp_path)
    assert trained(tmp_path) == trained(out)
    found = [m.get("eval/accuracy") for m in read_metrics(tmp_path)]
    assert [f is not None for f in found] == [False, True, False, True]


def test_more_steps_go_on_with_the_same_bits(whole, tmp_path):
    out, _, _ = whole
    said = []
    train(toy_recipe(steps=2), tmp_path)
    train(toy_recipe(), tmp_path, tell=said.append)
    assert trained(tmp_path) == trained(out)
    assert told(tmp_path) == told(out)
    assert said == ["resumed with steps: 2 -> 4", "resumed after step 2 of 4"]


def test_global_generators_are_part_of_the_run(tmp_path):
    train(toy_recipe(steps=2), tmp_path)
    state = Checkpoints(tmp_path / "checkpoints").load_latest().state
    assert state.rng
    assert state.cursor == {"drawn": 4}
    assert state.weight_version == 2


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"kind": "lr"}, UnknownName, "did you mean 'rl'"),
        ({"model": "tiny/weka"}, Exception, "tiny/weak"),
        ({"tools": ("zoon",)}, UnknownName, "zoom"),
        ({"data": DataSpec(world="zom")}, UnknownName, "zoom"),
        ({"data": DataSpec(options={"won": 3})}, RecipeError, "won"),
        ({"data": DataSpec(options={"one": 2}, only={"zooms": 7})}, Exception, "zooms"),
        ({"kind": "imitate"}, Exception, "trace=FOLDER"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        train(toy_recipe(**changes), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stop_on=[format_colapse]", "did you mean 'format_collapse'"),
        ("group_size=0", "group_size must be at least 1"),
        ("prompts=0", "prompts must be at least 1"),
        ("checkpoint_every=0", "checkpoint_every must be at least 1"),
        ("threads=0", "threads must be at least 1"),
        ("estimator=gpro", "did you mean 'grpo'"),
        ("estimator_options={scal: none}", "did you mean 'scale'"),
        ("learner.schedule=cosin", "did you mean 'cosine'"),
        ("learner.freeze=[visoin]", "did you mean 'vision'"),
        ("learner.lr=-1", "lr >= 0"),
        ("learner.betas=[0.9, 1.0]", "betas"),
        ("learner.loss.kl_coef=0.1", "reference=true"),
        ("learner.loss.objective=gspo", "seq-mean-token-mean"),
        ("learner.aggregation=seq-mean-token-sum-norm", "a length above 0"),
        ("learner.aggregation_length=4", "a length above 0"),
        ("max_failed=2", "max_failed is a share"),
    ],
)
def test_values_that_make_no_run_are_refused_before_it(change, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe("zoom", [change])


def test_a_world_of_other_options_is_not_trained_on(tmp_path):
    first = open_tasks(DataSpec(options={"one": 2}), tmp_path)
    assert len(open_tasks(DataSpec(options={"one": 2}), tmp_path)) == len(first) == 2
    with pytest.raises(DataError, match="made with"):
        open_tasks(DataSpec(options={"one": 3}), tmp_path)
    (tmp_path / "data" / "world.json").unlink()
    with pytest.raises(DataError, match="made with None"):
        open_tasks(DataSpec(options={"one": 2}), tmp_path)


def test_a_dry_run_learns_nothing_and_says_what_a_run_takes():
    recipe = toy_recipe()
    before = (shipped("tiny/weak") / "model.safetensors").read_bytes()
    found = json.loads(json.dumps(dry_run(recipe)))
    assert found["recipe"]["name"] == "toy"
    assert found["tasks"] == 8
    assert len(found["attempts"]) == 2
    assert found["attempts"][0]["turns"]
    estimate = found["estimate"]
    assert 6 * 40 < estimate["tokens_per_step"] < 6 * 400
    assert estimate["seconds_per_step"] > 0
    assert estimate["disk_gib"] > 0
    assert (shipped("tiny/weak") / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_fit(name):
    recipe = load_recipe(name, ["seed=5", "learner.lr=1e-5"])
    assert recipe.name == name
    assert recipe.seed == 5
    assert recipe.learner.lr == 1e-5
    assert recipe == load_recipe(name, ["seed=5", "learner.lr=0.00001"])


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match="did you mean 'zoom"):
        load_recipe("zooom")
    with pytest.raises(RecipeError, match="'lerner'"):
        load_recipe("zoom", ["lerner.lr=1"])


def test_recipes_are_values():
    assert toy_recipe() == toy_recipe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy_recipe().steps = 3


def test_worker_processes_of_tools_end_with_the_run(tmp_path, monkeypatch):
    """A worker lives through steps, each of which is an event loop of its own, and no longer."""
    monkeypatch.setattr(tools, "_things", {**tools._things, "far_act": worker_tools.far_act})
    pids = []

    class Calling(Trainer):
        async def step(self):
            call = ToolCall("far_act", {"act": "pid"})
            store = Store()
            (message,) = await self.toolbox.run([call], store, Hermes(), store.size, seed=0)
            pids.append(int(message.text.split()[-1]))
            return await super().step()

    monkeypatch.setitem(SESSIONS, "rl", Calling)
    train(toy_recipe(tools=("zoom", "far_act"), steps=2), tmp_path / "run")
    assert len(pids) == 2
    assert pids[0] == pids[1]
    assert not psutil.pid_exists(pids[0])
