"""The folder of a comparison: stopped, torn, shared, changed under its names; nothing is lost."""

from __future__ import annotations

import functools
import importlib
import json
import multiprocessing
import operator
import shutil
import sys
import time
from dataclasses import replace

import pytest
from small_ground import GROUND
from vtool.rl.lock import RunLock
from vtool.rl.methods import bench
from vtool.rl.methods.play import Row
from vtool.rl.methods.questions import code_of, digest_of, questions_of
from vtool.rl.methods.trial import Trial, ground_of, trials
from vtool.rl.recipe import DataSpec

from vtool.errors import CheckpointError, DataError
from vtool.worlds.dataset import make as make_zoom
from vtool.worlds.files import maker
from vtool.worlds.world import worlds


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


@pytest.fixture
def played(small, tmp_path):
    """A finished folder, and its one trial."""
    (trial,) = trials([small], [], [0], 8)
    bench.run([trial], tmp_path / "out", processes=1)
    return tmp_path / "out", trial


def otherwise(words: str):
    """The zoom world of another source file, with other words in its questions or the same."""

    def make(folder, **options):
        path = make_zoom(folder, **options)
        path.write_text(path.read_text().replace("what digit", words))
        return path

    return replace(worlds.get("zoom"), make=make)


def test_a_world_that_is_made_otherwise_today_is_refused(played, monkeypatch):
    out, trial = played
    first = bench.run([trial], out)
    folders = [p for p in (out / "worlds").iterdir() if p.is_dir()]
    made = {p: p.stat().st_mtime_ns for f in folders for p in f.rglob("*.png")}
    # Other code that makes the same: nothing is played or written again.
    monkeypatch.setitem(worlds._things, "zoom", otherwise("what digit"))
    assert bench.run([trial], out) == first
    assert {p: p.stat().st_mtime_ns for f in folders for p in f.rglob("*.png")} == made
    monkeypatch.setitem(worlds._things, "zoom", otherwise("which digit"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("vtool.rl.methods.questions.code_of", lambda world: "changed")
        with pytest.raises(DataError, match="other questions than world zoom makes today"):
            bench.run([trial], out)
    assert sorted(p for p in (out / "worlds").iterdir() if p.is_dir()) == sorted(folders)
    # Made anew by other code: then it is the rows that are of other questions.
    for folder in folders:
        shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"other questions than those of ground .*small.yaml today"):
        bench.run([trial], out)


def test_rows_that_do_not_say_what_was_asked_are_believed(played, monkeypatch):
    out, trial = played
    path = out / bench.RESULTS
    row = json.loads(path.read_text())
    assert len(row["questions"]) == 16
    shutil.rmtree(out / "worlds")
    monkeypatch.setitem(worlds._things, "zoom", otherwise("which digit"))
    # Published ones are, too: they were played elsewhere.
    path.unlink()
    assert bench.run([trial], out, known=[row]) == [row]
    del row["questions"]
    path.write_text(json.dumps(row) + "\n")
    assert bench.run([trial], out) == [row]
    assert not (out / "worlds").exists()


def test_the_code_of_a_world_is_that_of_all_who_make_it(monkeypatch, tmp_path):
    zoom, box = (code_of(worlds.get(name)) for name in ("zoom", "box"))
    assert zoom == box  # one package of worlds
    assert code_of(otherwise("what digit")) != zoom
    source = tmp_path / "my_worlds.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    told = []
    for number in "12":
        source.write_text(f"def draw(rng, split):\n    return {number}\n")
        draw = importlib.import_module("my_worlds").draw
        told.append(code_of(replace(worlds.get("zoom"), make=maker("mine", draw))))
    assert len({zoom, *told}) == 3


def test_a_helper_that_calls_itself_and_an_unbound_name_are_passed_over():
    def make(folder, **options):
        def count(n):
            return n and count(n - 1)

        def inner():
            return count(3), unbound, inner

        return inner
        unbound = 1

    assert code_of(replace(worlds.get("zoom"), make=make(""))) != code_of(worlds.get("zoom"))


WRITTEN = """
import dataclasses, functools


def make(folder, **options):
    return {number}


@dataclasses.dataclass(frozen=True, slots=True)
class Maker:
    draw: object = None

    def __call__(self, folder, **options):
        return self.draw

    def make(self, folder, **options):
        return self.draw


cached = functools.lru_cache(make)
"""


@pytest.mark.parametrize(
    "made_by",
    [
        lambda mine: functools.partial(mine.make, size=3),
        lambda mine: functools.partial(print, mine.make),
        lambda mine: mine.Maker(),
        lambda mine: mine.Maker().make,
        lambda mine: mine.cached,
    ],
)
def test_what_is_called_in_other_ways_is_seen_too(made_by, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_maker", raising=False)
    told = []
    for number in "12":
        (tmp_path / "my_maker.py").write_text(WRITTEN.replace("{number}", number))
        importlib.invalidate_caches()
        made = made_by(importlib.import_module("my_maker"))
        told.append(code_of(replace(worlds.get("zoom"), make=made)))
    assert len({"", code_of(worlds.get("zoom")), *told}) == 4


def test_what_no_source_tells_of_is_made_again_each_time(played, monkeypatch):
    out, trial = played
    seen = []
    opaque = operator.methodcaller("make")
    monkeypatch.setitem(worlds._things, "zoom", replace(worlds.get("zoom"), make=opaque))
    monkeypatch.setattr(
        "vtool.rl.methods.questions.made_anew",
        lambda spec, folder: seen.append(folder) or digest_of(folder),
    )
    bench.run([trial], out)
    bench.run([trial], out)
    assert len(seen) == 4  # training and held out, twice


def test_a_task_file_of_ones_own_is_read_by_its_rows(tmp_path):
    (tmp_path / "tasks.jsonl").write_text("{}")
    recipe = replace(ground_of("zoom"), data=DataSpec(path=str(tmp_path / "tasks.jsonl")))
    recipe = replace(recipe, eval=replace(recipe.eval, data=DataSpec(path=str(tmp_path))))
    before = questions_of(recipe)
    (tmp_path / "tasks.jsonl").write_text("{ }")
    assert questions_of(recipe) != before


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
