"""Runs that are stopped, resumed, damaged or refused."""

import os
import signal
import threading
from dataclasses import replace

import pytest
from toy_run import toy_recipe, trained
from vtool.rl.alarms import AlarmSettings
from vtool.rl.checkpoint import Checkpoints
from vtool.rl.learner import Learner, LearnerSettings, LearnerStopped
from vtool.rl.lock import RunLock
from vtool.rl.run import RunStopped
from vtool.rl.train import train

from vtool.errors import CheckpointError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an unbroken run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(toy_recipe(), out)
    return out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_saves(whole, tmp_path, number, code):
    said = []

    def stop(step, metrics):
        if step == 3:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    result = train(toy_recipe(), tmp_path, on_step=stop, tell=said.append)
    assert (result.exit_code, result.finished, result.steps) == (code, False, 3)
    assert result.model is None
    assert "after step 3" in said[-1]
    assert signal.getsignal(number) is handler
    assert Checkpoints(tmp_path / "checkpoints").load_latest().state.step == 3
    again = train(toy_recipe(), tmp_path)
    assert again.finished
    assert trained(tmp_path) == trained(whole)


def test_asked_twice_the_step_is_abandoned(whole, tmp_path, monkeypatch):
    old = Learner._apply

    def interrupted(self):
        if self.done == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return old(self)

    monkeypatch.setattr(Learner, "_apply", interrupted)
    said = []
    result = train(toy_recipe(), tmp_path, tell=said.append)
    assert result.exit_code == 143
    assert "step 3 was abandoned" in said
    monkeypatch.undo()
    train(toy_recipe(), tmp_path)
    assert trained(tmp_path) == trained(whole)


def test_a_run_outside_the_main_thread_gets_no_signals_and_works(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(toy_recipe(steps=1), tmp_path)))
    thread.start()
    thread.join()
    assert found[0].finished


def test_another_recipe_is_refused_and_may_be_forced(tmp_path):
    train(toy_recipe(steps=1), tmp_path)
    changed = toy_recipe(steps=2, learner=LearnerSettings(lr=5e-4, batch_tokens=256))
    with pytest.raises(CheckpointError, match=r"learner.lr: 0.001 -> 0.0005"):
        train(changed, tmp_path)
    assert train(changed, tmp_path, force=["learner.lr"]).finished


def test_other_data_under_the_same_name_is_refused(tmp_path):
    train(toy_recipe(steps=1), tmp_path)
    tasks = tmp_path / "data" / "tasks.jsonl"
    tasks.write_text("".join(tasks.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CheckpointError, match="data_digest"):
        train(toy_recipe(steps=2), tmp_path)


def test_no_resume_leaves_an_old_run_alone(tmp_path):
    train(toy_recipe(steps=1), tmp_path)
    with pytest.raises(CheckpointError, match="holds a run already"):
        train(toy_recipe(steps=2), tmp_path, resume=False)


def test_two_at_once_are_refused(tmp_path, monkeypatch):
    with RunLock(tmp_path), pytest.raises(CheckpointError, match="in use by"):
        train(toy_recipe(steps=1), tmp_path)


def test_a_damaged_checkpoint_falls_back_and_says_so(whole, tmp_path):
    train(toy_recipe(checkpoint_every=1, steps=3), tmp_path)
    weights = tmp_path / "checkpoints" / "step-000003" / "model" / "model.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)
    said = []
    with pytest.warns(UserWarning, match="step-000003 is damaged"):
        train(toy_recipe(checkpoint_every=1), tmp_path, tell=said.append)
    assert any("using step-000002" in s for s in said)
    assert trained(tmp_path) == trained(whole)


def test_nan_stops_the_run_with_the_last_good_weights(tmp_path, monkeypatch):
    from vtool.rl import learner

    train(toy_recipe(steps=2), tmp_path)
    good = Checkpoints(tmp_path / "checkpoints").load_latest().model / "model.safetensors"
    weights = good.read_bytes()
    monkeypatch.setattr(learner, "is_finite", lambda norm: False)
    settings = LearnerSettings(lr=1e-3, batch_tokens=256, max_skipped=1)
    with pytest.raises(LearnerStopped):
        train(toy_recipe(steps=9, learner=settings), tmp_path, force=["learner.max_skipped"])
    latest = Checkpoints(tmp_path / "checkpoints").load_latest()
    assert (latest.model / "model.safetensors").read_bytes() == weights


def test_an_alarm_is_told_and_may_end_the_run(tmp_path):
    touchy = AlarmSettings(window=1, dead_share=-1.0)
    said = []
    train(toy_recipe(steps=1, alarms=touchy), tmp_path / "told", tell=said.append)
    assert any(s.startswith("alarm dead_groups") for s in said)
    with pytest.raises(RunStopped, match="dead_groups"):
        train(toy_recipe(steps=2, alarms=touchy, stop_on=("dead_groups",)), tmp_path / "ended")
    assert Checkpoints(tmp_path / "ended" / "checkpoints").load_latest().state.step == 1


def test_half_a_world_is_not_trained_on(tmp_path, monkeypatch):
    from vtool.worlds.world import worlds

    def torn(folder, **options):
        folder.mkdir(parents=True)
        (folder / "tasks.jsonl").write_text("")
        raise KeyboardInterrupt

    torn_world = replace(worlds.get("zoom"), make=torn)
    monkeypatch.setattr(worlds, "get", lambda name: torn_world)
    with pytest.raises(KeyboardInterrupt):
        train(toy_recipe(steps=1), tmp_path)
    monkeypatch.undo()
    assert train(toy_recipe(steps=1), tmp_path).finished
