"""The folder of a comparison: stopped, torn, shared, changed under its names; nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import time

import pytest
from small_ground import GROUND
from vtool.rl.lock import RunLock
from vtool.rl.methods import bench
from vtool.rl.methods.play import Row
from vtool.rl.methods.trial import Trial, trials

from vtool.errors import CheckpointError, DataError


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(GROUND)
    return str(path)


def test_a_comparison_goes_on_where_it_stopped(small, tmp_path):
    out, told = tmp_path / "out", []
    wanted = trials([small], ["answer_only"], [0, 1], 200)
    first = bench.run(wanted, out, processes=2, tell=lambda n, of, row: told.append((n, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    lines = (out / bench.RESULTS).read_text().splitlines()
    # The last line is torn, as by a machine that went down; one trial is lost, the others stay.
    (out / bench.RESULTS).write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    told.clear()
    again = bench.run(wanted, out, processes=1, tell=lambda n, of, row: told.append((n, of)))
    assert told == [(1, 1)]
    assert [{**r, "seconds": 0} for r in again] == [{**r, "seconds": 0} for r in first]
    assert len(bench.read_results(out / bench.RESULTS)) == 3


@pytest.mark.parametrize(("tail", "kept"), [('{"key": "b"', 1), ('{"key": "b"}', 2), ("", 1)])
def test_what_is_written_after_half_a_line_can_be_read(tmp_path, tail, kept):
    path = tmp_path / "results.jsonl"
    path.write_text('{"key": "a"}\n' + tail)
    bench.mend(path)
    with path.open("a") as file:
        file.write('{"key": "c"}\n{"key": "d"}\n')
    assert len(bench.read_results(path)) == kept + 2


def test_what_is_named_twice_is_played_once():
    found = trials(["zoom", "zoom"], ["otc", "otc"], [1, 1], 10)
    assert [t.key for t in found] == ["zoom/start/0/0", "zoom/otc/1/10"]


def test_two_files_of_one_name_are_refused_and_a_changed_one_is_told(small, tmp_path):
    paths = [tmp_path / d / "mine.yaml" for d in "ab"]
    for path, clip in zip(paths, (0.3, 0.4), strict=True):
        path.parent.mkdir()
        path.write_text(f"extends: zoom\nname: mine\nlearner: {{loss: {{clip_high: {clip}}}}}")
    out, (one, other) = tmp_path / "out", map(str, paths)
    with pytest.raises(DataError, match="rename one"):
        bench.run(trials([small], [one, other], [0], 8), out)
    (trial,) = trials([small], [one], [0], 8)[1:]
    bench.run([trial], out, processes=1)
    assert bench.run([trial], out, processes=1)[0]["error"] is None
    paths[0].write_text(paths[1].read_text())
    with pytest.raises(DataError, match="another file name"):
        bench.run([trial], out, processes=1)
    assert Trial(small, one + ":ablated", 0, 8).key == "small/mine:ablated/0/8"


def test_a_folder_has_one_runner_at_a_time(small, tmp_path):
    with RunLock(tmp_path), pytest.raises(CheckpointError, match="in use by"):
        bench.run(trials([small], ["answer_only"], [0], 8), tmp_path)


def broken_or_slow(trial, out):
    if trial.seed == 0:
        time.sleep(1.0)
        raise RuntimeError("our fault")
    time.sleep(2.5 * (trial.seed == 1))
    return Row(trial.key, "zoom", "otc", trial.seed, 10)


def test_a_trial_that_breaks_loses_none_of_those_beside_it(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "play_trial", broken_or_slow)
    told = []
    lines = bench.played([Trial("zoom", "otc", s, 10) for s in range(9)], tmp_path, 2)
    with pytest.raises(RuntimeError, match="our fault") as found:
        told.extend(line["seed"] for line in lines)
    assert 1 in told
    assert len(told) < 8
    assert found.value.__notes__ == ["in trial zoom/otc/0/10"]


def test_half_a_line_is_left_out_and_a_broken_one_is_told(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"key": "a"}) + "\n" + '{"key": "b"')
    assert [r["key"] for r in bench.read_results(path)] == ["a"]
    path.write_text('{"key": \n' + json.dumps({"key": "a"}) + "\n")
    with pytest.raises(Exception, match=r"results.jsonl:1: expected a row"):
        bench.read_results(path)


def quick_or_endless(trial, out):
    time.sleep(120.0 * trial.seed)
    return Row(trial.key, "zoom", "otc", trial.seed, 10)


def test_who_is_interrupted_waits_for_no_trial(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "play_trial", quick_or_endless)
    lines = bench.played([Trial("zoom", "otc", s, 10) for s in range(4)], tmp_path, 2)
    assert next(lines)["seed"] == 0
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        lines.throw(KeyboardInterrupt)
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()
