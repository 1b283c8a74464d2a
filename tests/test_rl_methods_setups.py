"""What a folder's shipped names meant: another recipe or start under the same name is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_ground import GROUND
from vtool.rl.methods import bench, setups, trial
from vtool.rl.methods.play import play_trial
from vtool.rl.methods.setups import setup_of, weights_of
from vtool.rl.methods.trial import Trial, ground_of, recipe_of
from vtool.rl.recipe_about import About

from vtool.errors import DataError
from vtool.loading import find_checkpoint

START = Trial("small", "start", 0, 0)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A ground that ships, and its start, in a place where both can be changed."""
    start = shutil.copytree(find_checkpoint("tiny/weak"), tmp_path / "start")
    (tmp_path / "grounds").mkdir()
    (tmp_path / "grounds" / "small.yaml").write_text(GROUND + f"model: {start}\n")
    monkeypatch.setattr(trial, "GROUNDS", tmp_path / "grounds")
    # In this process: others would not know of that place.
    monkeypatch.setattr(bench, "played", lambda left, out, n: [plain(t, out) for t in left])
    return tmp_path


def plain(trial: Trial, out: Path) -> dict:
    return bench.plain(play_trial(trial, out))


def reword(root: Path) -> None:
    path = root / "grounds" / "small.yaml"
    path.write_text("# Says more.\n" + path.read_text().replace("name: small", "name: smaller"))


def rewrite(root: Path) -> None:
    path = root / "grounds" / "small.yaml"
    path.write_text(path.read_text() + "limits: {max_turns: 3}\n")


def retrain(root: Path) -> None:
    path = next((root / "start").glob("*.safetensors"))
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)


def test_a_shipped_name_that_means_something_else_today_is_refused(shipped):
    out = shipped / "out"
    (first,) = bench.run([START], out, processes=1)
    assert first["error"] is None
    assert len(first["setup"]) == 16
    reword(shipped)
    assert bench.run([START], out) == [first]
    kept = (shipped / "grounds" / "small.yaml").read_text()
    for change in (rewrite, retrain):
        change(shipped)
        with pytest.raises(DataError, match="under another recipe, or from other weights"):
            bench.run([START], out)
        (shipped / "grounds" / "small.yaml").write_text(kept)
    # Published rows are believed, and older ones, which do not say.
    path = out / bench.RESULTS
    path.unlink()
    assert bench.run([START], out, known=[first]) == [first]
    del first["setup"]
    path.write_text(json.dumps(first) + "\n")
    assert bench.run([START], out) == [first]


def test_setups_tell_grounds_methods_and_ablations_apart():
    named = [("zoom", "otc"), ("zoom", "gspo"), ("zoom", "otc:ablated"), ("idle", "otc")]
    assert len({setup_of(recipe_of(Trial(g, m, 0, 9))) for g, m in named}) == 4
    one, two = (setup_of(recipe_of(Trial("zoom", "otc", s, 9))) for s in (0, 1))
    assert one == two  # the seed stands in the trial's name
    ground = ground_of("zoom")
    assert setup_of(replace(ground, about=About(), name="other")) == setup_of(ground)


def test_a_checkpoint_is_read_once_and_again_when_it_changed(shipped, monkeypatch):
    read, whole = [], setups.weights_digest
    monkeypatch.setattr(setups, "weights_digest", lambda place: read.append(place) or whole(place))
    first = weights_of(shipped / "start")
    assert weights_of(shipped / "start") == first
    assert read == [shipped / "start"]
    retrain(shipped)
    assert weights_of(shipped / "start") != first
