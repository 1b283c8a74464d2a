"""`vtool train`: recipes by name or path, overrides, exit codes."""

import json
import os
import signal

import pytest
import yaml
from toy_run import toy_recipe, trained
from vtool.rl import run as runs
from vtool.rl.train import train

from vtool.cli import main
from vtool.config import to_plain


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(to_plain(toy_recipe())))
    return str(path)


def vtool(*words):
    with pytest.raises(SystemExit) as end:
        main(["train", *map(str, words)])
    return end.value.code or 0


def test_a_recipe_of_yours_with_overrides(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    assert vtool(recipe, "steps=2", "--out", out) == 0
    said = capsys.readouterr().out
    assert "step 1/2" in said
    assert "step 2/2" in said
    assert f"done: {out / 'model'}" in said
    train(toy_recipe(steps=2), tmp_path / "same")
    assert trained(out) == trained(tmp_path / "same")


def test_json_is_one_document(recipe, tmp_path, capsys):
    assert vtool(recipe, "steps=1", "--out", tmp_path / "run", "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["finished"] is True
    assert body["steps"] == 1
    assert "reward/total" in body["metrics"]


def test_a_dry_run_leaves_nothing(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vtool(recipe, "--dry-run") == 0
    assert yaml.safe_load(capsys.readouterr().out)["estimate"]["tokens_per_step"] > 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("zooom",), 2, "did you mean 'zoom"),
        (("{recipe}", "stepz=1"), 2, "did you mean 'steps'"),
        (("{recipe}", "steps"), 2, "key=value"),
        (("{recipe}", "steps=many"), 2, "steps"),
        (("{recipe}", "model=tiny/weka"), 2, "tiny/weak"),
        (("{recipe}", "group_size=0"), 2, "does not fit: group_size must be at least 1, not 0"),
        (("{recipe}", "learner.lr=nan"), 2, "does not fit: learner: learner needs lr >= 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(recipe, tmp_path, capsys, words, code, said):
    chosen = [w.format(recipe=recipe) for w in words]
    assert vtool(*chosen, "--out", tmp_path / "run") == code
    assert said in capsys.readouterr().err


def test_a_signal_gives_its_exit_code_and_the_same_command_goes_on(
    recipe, tmp_path, capsys, monkeypatch
):
    old = runs.Run._step

    def once(self, log):
        old(self, log)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runs.Run, "_step", once)
    assert vtool(recipe, "steps=2", "--out", tmp_path / "run") == 143
    assert "saved after step 1" in capsys.readouterr().out
    monkeypatch.undo()
    assert vtool(recipe, "steps=2", "--out", tmp_path / "run") == 0


def test_a_changed_recipe_needs_force(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    assert vtool(recipe, "steps=1", "--out", out) == 0
    assert vtool(recipe, "steps=2", "seed=1", "--out", out) == 1
    assert "seed: 0 -> 1" in capsys.readouterr().err
    assert vtool(recipe, "steps=2", "seed=1", "--out", out, "--force", "seed") == 0
