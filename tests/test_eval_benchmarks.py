"""Benchmarks by name: every one reads a miniature of every layout, checks it, and runs on it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import miniatures
import pytest
from miniature_files import png, save, save_json, save_lines, tsv
from vtool.eval.benchmarks.entry import open_benchmark, open_tasks
from vtool.eval.benchmarks.table import write_table
from vtool.eval.run import Settings, evaluate

from vtool.benchmark import Judged, benchmarks, metrics
from vtool.benchmark_check import check_benchmark
from vtool.cli import main
from vtool.dialects.hermes import Hermes
from vtool.errors import DataError, UnknownName
from vtool.message import Role
from vtool.task import Choice, Masks, Spans
from vtool.toolbox import Toolbox

FAMILY = SimpleNamespace(shown_size=lambda size: (64, 64))
RENDERER = SimpleNamespace(name="double", dialect=Hermes(), family=FAMILY)


def test_every_benchmark_has_a_miniature_of_every_layout():
    named = {n: len(benchmarks.get(n).layouts) for n in benchmarks.names() if n != "task_file"}
    assert {n: len(w) for n, w in miniatures.MINIATURES.items()} == named
    for name in named:
        found = benchmarks.get(name)
        assert found.name == name
        assert found.about
        assert all(x.seen.startswith(("verified: ", "documented: ")) for x in found.layouts)
        for metric in (found.metric, found.published or found.metric):
            assert metric in metrics


@pytest.mark.parametrize(("name", "at"), miniatures.layouts())
def test_a_miniature_passes_the_check(name, at, tmp_path):
    report = check_benchmark(benchmarks.get(name), miniatures.write(name, at, tmp_path))
    assert report.findings == ()
    assert report.rows >= 1


class Known:
    """A chat engine that says the reference, or nothing that could be right."""

    def __init__(self, opened, right):
        says = opened.benchmark.says
        self.answers = {t.prompt[-1]: next(iter(says(t))) for t in opened.tasks}
        assert len(self.answers) == len(opened.tasks)
        self.right = right

    async def chat(self, messages, store, specs, sampling):
        asked = next(m.text for m in messages if m.role is Role.USER)
        known = next(a for words, a in self.answers.items() if asked.endswith(words))
        return f"<answer>{known if self.right else 'nothing at all'}</answer>"


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("name", sorted(miniatures.MINIATURES))
def test_a_benchmark_runs_through_the_whole_pipeline(name, right, tmp_path):
    root = miniatures.write(name, 0, tmp_path / "files")
    opened = open_benchmark(name, root)
    job = evaluate(
        opened.tasks,
        renderer=RENDERER,
        engine=Known(opened, right),
        toolbox=Toolbox(["zoom"]),
        settings=Settings(name=name, metric=opened.metric, k=2),
        out=tmp_path / "run",
    )
    report = asyncio.run(job)
    assert not report.errors
    assert report.stops == {"answered": 2 * len(opened.tasks)}
    assert report.total.accuracy == float(right)
    table = write_table(opened, opened.tasks, tmp_path / "run")
    assert table == json.loads((tmp_path / "run" / "table.json").read_text())
    # Recall of highlights is no share of all that was asked: several windows, one first answer.
    assert set(table.values()) == {float(right)} or name == "qvhighlights"
    first = next(iter(table.values()))
    assert first == pytest.approx(float(right))


@pytest.mark.parametrize(("name", "at"), miniatures.layouts())
def test_both_layouts_of_a_benchmark_ask_alike(name, at, tmp_path):
    """A converted copy must not ask another question, or want another answer."""
    opened = open_benchmark(name, miniatures.write(name, at, tmp_path))
    task = opened.tasks[0]
    assert type(task.prompt[-1]) is str
    assert task.prompt[:-1]
    assert opened.tasks[:1].ids == (task.id,)
    other = open_benchmark(name, miniatures.write(name, 0, tmp_path / "first")).tasks[0]
    assert type(task.reference) is type(other.reference)
    assert set(task.tags) ^ set(other.tags) <= {"video", "size", "group", "platform"}


def test_names_and_splits():
    with pytest.raises(DataError, match="expected a split, one of testA, testB, val"):
        open_benchmark("refcoco", ".")
    with pytest.raises(DataError, match="expected as split one of"):
        open_benchmark("refcoco", ".", "tset")
    with pytest.raises(DataError, match="it has one split only"):
        open_benchmark("vstar", ".", "test")
    with pytest.raises(UnknownName, match="did you mean 'vstar'"):
        open_benchmark("vstra", ".")
    with pytest.raises(DataError, match="--root FOLDER"):
        open_tasks("vstar", None)


def test_a_split_and_the_published_reading(tmp_path):
    root = miniatures.write("refcoco_testA", 0, tmp_path)
    opened = open_benchmark("refcoco", root, "testA")
    assert opened.name == "refcoco_testA"
    assert opened.tasks[0].prompt[-1].endswith("testA thing 0")
    root = miniatures.write("vstar", 0, tmp_path / "v")
    assert open_benchmark("vstar", root, as_published=True).metric == "choice_vstar"
    assert open_benchmark("vstar", root).metric == "choice"


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(DataError, match=r"found none of its files .*test-\*.parquet"):
        open_benchmark("vstar", tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        open_benchmark("vstar", tmp_path / "none")


def faulty(tmp_path, change):
    root = miniatures.write("vstar", 1, tmp_path)
    lines = (root / "test_questions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    change(rows, root)
    save_lines(root / "test_questions.jsonl", rows)
    return root


FAULTS = {
    "id twice": (lambda rows, root: rows[2].update(question_id="0"), "duplicate_id", "comes twice"),
    "no such option": (lambda rows, root: rows[0].update(label="E"), "bad_question", "got 'E'"),
    "no label": (lambda rows, root: rows[0].pop("label"), "bad_question", "a column 'label'"),
    "no picture": (
        lambda rows, root: (root / rows[1]["image"]).unlink(),
        "bad_question",
        "media files are not there",
    ),
    "a path outside": (
        lambda rows, root: rows[0].update(image="../x.jpg"),
        "bad_question",
        "x.jpg",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_folder_is_told_at_once(fault, tmp_path):
    change, code, said = FAULTS[fault]
    root = faulty(tmp_path, change)
    report = check_benchmark(benchmarks.get("vstar"), root)
    assert not report.ok
    assert [f.code for f in report.findings] == [code]
    with pytest.raises(DataError, match=said):
        open_benchmark("vstar", root)


def test_a_picture_that_is_none_is_found_before_a_run(tmp_path):
    def change(rows, root):
        save(root / rows[0]["image"], b"nothing")

    report = check_benchmark(benchmarks.get("vstar"), faulty(tmp_path, change))
    assert [(f.code, f.line) for f in report.findings] == [("bad_question", 1)]


def test_a_reference_that_does_not_score_is_found(tmp_path):
    """An annotation outside the picture cannot be clicked, however well one looks."""
    root = miniatures.write("chartqa", 1, tmp_path)
    save_json(root / "test" / "test_human.json", [{**_chart(root), "label": ""}])
    found = check_benchmark(benchmarks.get("chartqa"), root)
    assert {f.code for f in found.findings} <= {"bad_reference", "no_answer"}
    empty = check_benchmark(benchmarks.get("refspatial"), _no_mask(tmp_path / "r"))
    assert {f.code for f in empty.findings} == {"no_answer"}


def _chart(root):
    return json.loads((root / "test" / "test_human.json").read_text())[0]


def _no_mask(root):
    from miniature_files import mask_png, parquet

    row = {"id": 0, "object": "x", "prompt": "p", "suffix": "s", "image": png(), "step": 1}
    parquet(root / "data" / "location-0.parquet", [{**row, "mask": mask_png(box=(0, 0, 0, 0))}])
    return root


def test_video_files_that_are_none(tmp_path):
    root = miniatures.write("charades_sta", 1, tmp_path)
    save(root / "Charades_v1_480" / "c1.mp4", b"nothing")
    report = check_benchmark(benchmarks.get("charades_sta"), root)
    assert [(f.code, f.line) for f in report.findings] == [("bad_question", 3)]


def run(words):
    with pytest.raises(SystemExit) as caught:
        main(words)
    return caught.value.code or 0


def test_the_command_checks_a_folder(tmp_path, capsys):
    root = miniatures.write("refcoco_val", 0, tmp_path)
    words = ["data", "check", str(root), "--benchmark", "refcoco", "--split", "val", "--json"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "path": str(root),
        "rows": 3,
        "findings": [],
    }
    bad = faulty(tmp_path / "bad", lambda rows, root: rows[0].update(label="E"))
    assert run(["data", "check", str(bad), "--benchmark", "vstar"]) == 2
    out = capsys.readouterr().out
    assert "bad_question" in out
    assert "not fit for use" in out


def test_reasonseg_draws_small_parts_over_large_ones(tmp_path):
    root = miniatures.write("reasonseg_val", 0, tmp_path)
    wanted = [t.reference for t in open_benchmark("reasonseg_val", root).tasks]
    assert all(isinstance(w, Masks) for w in wanted)
    whole, cut, _ = ([int(m.cells.sum()) for m in w.masks] for w in wanted)
    assert whole == [51 * 43, 0]  # the outline belongs to it, and 60.7 is drawn as 60
    assert cut == [51 * 43 - 121, 121]


def test_annotations_turned_round_are_left_out_and_frames_are_seconds(tmp_path):
    films = open_benchmark("tacos", miniatures.write("tacos", 0, tmp_path / "t")).tasks
    assert [t.reference.spans[0].start_s for t in films] == [2.0, 3.0]
    films = open_benchmark(
        "activitynet_captions", miniatures.write("activitynet_captions", 0, tmp_path / "a")
    ).tasks
    ends = [t.reference.spans[0].end_s for t in films if isinstance(t.reference, Spans)]
    assert ends == [4.0, 11.9, 2.0]  # one ran past the end of its film


def test_a_part_of_a_whole_video_is_said_and_shown(tmp_path):
    root = miniatures.write("mvbench", 0, tmp_path)
    (root / "star" / "Charades_segment").rename(root / "star" / "Charades_v1_480")
    tasks = {t.id: t for t in open_benchmark("mvbench", root).tasks}
    task = tasks["action_sequence-action_sequence-row-0"]
    assert task.prompt[-1].startswith("From 2 to 6.5 seconds of the video. ")
    times = task.prompt[1].times_s
    assert 2.0 <= min(times) < max(times) <= 6.5
    assert max(tasks["moving_count-moving_count-row-0"].prompt[1].times_s) > 11


def test_questions_without_their_options_stay_in_the_count(tmp_path):
    tasks = open_benchmark(
        "longvideo_reason", miniatures.write("longvideo_reason", 0, tmp_path)
    ).tasks
    assert [t.tags["whole"] for t in tasks] == [True, True, False]
    assert all(isinstance(t.reference, Choice) for t in tasks)


def test_hrbench_means_the_means_of_rotations():
    rows = [(1.0, "a", "single"), (0.0, "a", "single"), (1.0, "b", "cross"), (1.0, "b", "cross")]
    judged = [
        Judged(id=str(i), reference=None, answer="", score=s, tags={"cycle": c, "category": k})
        for i, (s, c, k) in enumerate(rows)
    ]
    table = benchmarks.get("hrbench_4k").summary(judged)
    assert table == {"overall": 0.75, "single": 0.5, "cross": 1.0}


def test_vsibench_means_its_kinds_and_joins_the_directions():
    rows = {"object_rel_direction_easy": 1.0, "object_rel_direction_hard": 0.0, "x": 0.3}
    judged = [
        Judged(id=k, reference=None, answer="", score=s, tags={"type": k}) for k, s in rows.items()
    ]
    table = benchmarks.get("vsibench").summary(judged)
    assert table == {"overall": 0.4, "object_rel_direction": 0.5, "x": 0.3}


def test_a_cell_of_a_tsv_may_hold_lines_and_quotes(tmp_path):
    row = {"index": 7, "question": 'Says "a\tb"\nor c?', "A": "x", "B": "y", "C": "nan"}
    more = {"answer": "B", "category": "single", "cycle_category": "0", "image": ""}
    root = miniatures.write("hrbench_4k", 1, tmp_path)
    image = {"image": _first_image(root)}
    tsv(root / "hr_bench_4k.tsv", [{**row, **more, **image}])
    task = open_benchmark("hrbench_4k", root).tasks[0]
    assert task.prompt[-1].startswith('Says "a\tb"\nor c?\nA. x\nB. y\nAnswer')


def _first_image(root):
    from vtool.eval.formats.tables import read_tsv

    return read_tsv(root / "hr_bench_4k.tsv")[0]["image"]
