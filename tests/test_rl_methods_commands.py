"""The command line of a comparison: what is listed, and what is told of slips and failures."""

from __future__ import annotations

import json

from typer.testing import CliRunner
from vtool.rl.methods.claims import CLAIMS
from vtool.rl.methods.commands import app
from vtool.rl.methods.trial import ground_names


def test_what_ships_is_listed_by_the_names_that_one_types():
    told = CliRunner().invoke(app, ["list", "--json"])
    found = json.loads(told.output)
    assert set(found["grounds"]) == set(ground_names())
    assert {"answer_only", "bonus_gated"} <= set(found["variants"])
    assert set(found["claims"]) == {c.name for c in CLAIMS}
    assert all(found["grounds"].values())
    assert "zoom" in CliRunner().invoke(app, ["list"]).output


def test_a_file_that_is_not_there_is_no_misspelt_name(tmp_path):
    for option in ("--grounds", "--methods"):
        told = CliRunner().invoke(app, ["methods", option, "no.yaml", "--out", str(tmp_path / "o")])
        assert "there is no file no.yaml" in str(told.exception)
    # A slip is told before anything is drawn.
    assert not (tmp_path / "o" / "worlds").exists()


def test_a_comparison_of_which_nothing_could_be_played_fails(monkeypatch, tmp_path):
    named = {"key": "zoom/answer_only/0/9", "ground": "zoom", "method": "answer_only", "seed": 0}
    broken = [{**named, "budget": 9, "tokens": 0, "curve": [], "error": "no such tool"}]
    monkeypatch.setattr("vtool.rl.methods.commands.play", lambda *args, **more: broken)
    told = CliRunner().invoke(app, ["methods", "--out", str(tmp_path)])
    assert told.exit_code == 1
    assert "no such tool" in told.output
