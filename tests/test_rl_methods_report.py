"""What the report of a comparison counts: attempts that were played, and those learnt from."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from small_ground import GROUND
from vtool.rl.methods.claim import learning_calls
from vtool.rl.methods.play import play_trial
from vtool.rl.methods.report import table
from vtool.rl.methods.trial import Trial


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The plain method and one with a filter, from one seed."""
    folder = tmp_path_factory.mktemp("filtered")
    small, mine = folder / "small.yaml", folder / "filtered.yaml"
    small.write_text(GROUND)
    mine.write_text("extends: dapo\nname: filtered\nrefill: 2\n")
    wanted = [Trial(str(small), name, 1, 8) for name in ("answer_only", str(mine))]
    return [asdict(play_trial(trial, folder)) for trial in wanted]


def test_attempts_of_refused_groups_are_played_and_not_learnt_from(rows):
    plain, filtered = rows
    assert plain["played"] == plain["episodes"] == 8
    assert filtered["played"] > filtered["episodes"]
    assert filtered["played"] % 4 == 0  # whole groups
    text = table(rows)
    assert "| learnt from |" in text
    share = 1 - filtered["episodes"] / filtered["played"]
    told = f"* filtered: {filtered['played']} attempts were played; {share:.0%} of them, in"
    assert told in text
    assert "* answer_only: 8 attempts" not in text


def test_turns_beyond_one_are_those_of_every_attempt_that_was_played(rows):
    for row in rows:
        assert learning_calls(row) == (row["turns"] - row["played"]) / row["played"]


def test_rows_that_tell_no_such_attempts_are_read(rows):
    old = [{k: v for k, v in row.items() if k != "played"} for row in rows]
    assert "attempts were played" not in table(old)
    assert learning_calls(old[0]) == learning_calls(rows[0])
