"""Evaluations among odd files, odd judges, odd metrics and odd people: told, never miscounted."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import re
import socket
import threading
from collections import OrderedDict
from dataclasses import replace

import miniatures
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import RENDERER, Oracle, run, tasks
from pictures import textured
from vtool.eval.benchmarks.entry import Opened, open_benchmark
from vtool.eval.benchmarks.table import write_table
from vtool.eval.bridges.inspect_log import write_inspect_log
from vtool.eval.fit import check_fit
from vtool.eval.formats import parquet, tables
from vtool.eval.http_judge import HttpJudge
from vtool.eval.judging import Judging, Verdicts
from vtool.eval.report import to_markdown
from vtool.eval.results import read_samples
from vtool.eval.run import Settings, evaluate, rescore
from vtool.eval.sweep import budgets, controlled

from vtool.benchmark import Benchmark, mean_score, metrics
from vtool.cli import main
from vtool.commands.output import print_json
from vtool.errors import DataError
from vtool.media import Image
from vtool.record import Sampling
from vtool.toolbox import Toolbox


def vtool(words) -> int:
    """Status of a command."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def own_file(folder, count, **more) -> str:
    """A task file as users write it."""
    rows = []
    for i in range(count):
        (folder / f"{i}.png").write_bytes(Image(textured(80, 60, i)).encode())
        row = {"image": f"{i}.png", "question": "What does it say?", "answer": str(i)}
        rows.append({"id": f"q{i}", **row, **more})
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def test_rows_end_at_line_feeds_and_nowhere_else(tmp_path):
    path = tmp_path / "rows.jsonl"
    said = "one\u2028two\u0085three"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"q": said}, ensure_ascii=False).encode() + b"\r\n"
    )
    assert [r["q"] for r in tables.read_rows(path)] == [said]
    path.write_bytes(b'{"q": "\xff"}\n')
    with pytest.raises(DataError, match=r"cannot read rows\.jsonl"):
        tables.read_rows(path)
    with pytest.raises(DataError, match=r"cannot read none\.jsonl"):
        tables.read_rows(tmp_path / "none.jsonl")


def beside(*jobs):
    """What several threads came to: values or errors, in order."""
    found = [None] * len(jobs)

    def go(at, job):
        try:
            found[at] = job()
        except Exception as err:
            found[at] = err

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(jobs)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return found


def test_threads_that_read_wide_cells_do_not_take_each_other_s_limit_away(tmp_path, monkeypatch):
    """The limit on a cell is the process's: who is done first must not lower it for the other."""
    path, wide = tmp_path / "wide.tsv", "A" * (csv.field_size_limit() + 1)
    path.write_text(f"index\timage\n0\t{wide}\n1\t{wide}\n")
    first, second = tables.read_tsv(path)
    done, reader = threading.Event(), csv.reader
    both = threading.Barrier(2)

    def meeting(*args, **options):
        try:
            late = both.wait(0.3) == 1
        except threading.BrokenBarrierError:
            late = False  # they take turns
        if late:
            done.wait(1)
        return reader(*args, **options)

    monkeypatch.setattr(tables.csv, "reader", meeting)

    def read(record):
        try:
            return len(record["image"])
        finally:
            done.set()

    assert beside(lambda: read(first), lambda: read(second)) == [len(wide)] * 2


def test_threads_that_read_one_parquet_file_do_not_take_each_other_s_groups_away(tmp_path):
    path = tmp_path / "rows.parquet"
    cells = [bytes([i]) * 8 for i in range(6)]
    pq.write_table(pa.table({"image": cells}), path, row_group_size=1)
    file = parquet._File(path, ())
    records = file.records()
    done = threading.Event()

    class Slow(OrderedDict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            if key[0] == 0:
                done.wait(0.5)

    file._groups = Slow()

    def others():
        try:
            return [r["image"] for r in records[1:]]
        finally:
            done.set()

    assert beside(lambda: records[0]["image"], others) == [cells[0], cells[1:]]


def answers_once(reply: bytes) -> str:
    """Address of a service that says these bytes to each of two callers, and is gone."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server:
            for _ in range(2):
                line, _ = server.accept()
                with line:
                    line.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):  # all of it: else the reply is lost
                        while line.recv(1 << 16):
                            pass
                    line.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/v1"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize(
    "reply",
    [
        b"hello, I am no web server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        OK % (200_000, b"[" * 200_000),
        OK % (2, b"[]"),
        OK % (4, b"null"),
        OK % (1, b"\xff"),
        b"",
    ],
    ids=["no http", "cut off", "deep", "list", "null", "no text", "nothing"],
)
def test_a_service_that_talks_nonsense_is_a_judge_that_is_down(reply):
    some = tasks(1)
    judging = Judging(HttpJudge(answers_once(reply), "m", timeout_s=5), "j", tries=1)
    report = run(Oracle(some, right=False), some, judging=judging)
    assert (report.total.n, report.unscored) == (0, 1)


def test_a_judge_with_a_bug_leaves_answers_unscored_and_names_it():
    def buggy(case):
        raise KeyError("verdict")

    some = tasks(2)
    judging = Judging(buggy, "buggy", wait_s=0.0)
    report = run(Oracle(some, right=False), some, judging=judging)
    assert (report.total.n, report.unscored, report.broken) == (0, 2, 0)
    assert report.unscored_why == {"judge down: KeyError: 'verdict'": 2}


@pytest.mark.parametrize("odd", ["NaN", "7", '"1"'])
def test_kept_verdicts_that_are_none_are_refused(tmp_path, odd):
    path = tmp_path / "v.jsonl"
    path.write_text(f'{{"key": "k", "verdict": {odd}}}\n')
    with pytest.raises(DataError, match="damaged"):
        Verdicts(path)


def test_an_address_that_is_none_is_refused_before_anything_is_played(tmp_path, capsys):
    path = own_file(tmp_path, 1)
    assert vtool(["eval", path, "--judge-url", "ftp://x", "--out", str(tmp_path / "o")]) == 2
    assert "expected an http address" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1, 2, "1", None, ValueError("no")])
def test_a_metric_that_gives_no_score_leaves_answers_unscored(tmp_path, monkeypatch, odd):
    def rule(answer, task):
        if isinstance(odd, Exception):
            raise odd
        return odd

    some = tasks(2)
    monkeypatch.setitem(metrics._things, "odd", rule)
    report = run(Oracle(some), some, settings=Settings(metric="odd"), out=tmp_path)
    assert (report.total.n, report.unscored, report.broken) == (0, 2, 0)
    assert next(iter(report.unscored_why)).startswith("the metric gave no score")
    json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)


def test_what_nothing_was_counted_of_has_no_accuracy(tmp_path):
    some = tasks(2)
    report = run(Oracle(some), some, out=tmp_path, predict_only=True)
    assert "| evaluation | 0 | - | - |" in to_markdown([report])
    assert "<td>0</td><td>-</td><td>-</td>" in (tmp_path / "report.html").read_text()
    head, row = csv.reader((tmp_path / "report.csv").read_text().splitlines())
    assert {n: row[head.index(n)] for n in ("n", "accuracy", "low", "high")} == {
        "n": "0",
        "accuracy": "",
        "low": "",
        "high": "",
    }


def test_scoring_again_still_tells_what_broke_and_what_is_missing(tmp_path):
    some = tasks()
    run(Oracle(some, fail={some[0].id}), some[:3], out=tmp_path)
    report = asyncio.run(rescore(some, tmp_path, metric="exact_match"))
    assert (report.broken, report.missing, report.total.n) == (1, 1, 2)
    assert "EngineError: gone" in report.errors
    assert "1 tasks have no attempt" in (tmp_path / "report.md").read_text()
    assert "1 tasks have no attempt" in (tmp_path / "report.html").read_text()
    run(Oracle(some), some, out=tmp_path)
    report = asyncio.run(rescore(some, tmp_path, metric="exact_match"))
    assert (report.broken, report.missing, report.total.n) == (0, 0, 4)


def test_the_table_of_a_benchmark_is_of_the_same_attempts_as_the_report(tmp_path):
    some = tasks(3)
    made = Benchmark("made", lambda root: some, summary=lambda j: {"n": len(j), **mean_score(j)})
    opened = Opened("made", some, "exact_match", ("zoom",), made)

    def table(chosen, **changes):
        run(Oracle(some), chosen, settings=Settings(**changes), out=tmp_path)
        return write_table(opened, chosen, tmp_path)

    assert table(some, k=2) == {"n": 6, "overall": 1.0}
    assert table(some, k=1) == {"n": 3, "overall": 1.0}
    assert table(some[:1], k=1) == {"n": 1, "overall": 1.0}
    run(Oracle(some), some, out=tmp_path, predict_only=True)
    assert write_table(opened, some, tmp_path) is None
    assert not (tmp_path / "table.json").exists()  # that of other attempts is no longer true


ODD = '"><script>alert(1)</script>|\n=1+1 \ud800 é漢/../'


def test_odd_words_break_no_report(tmp_path, capsys):
    """Half characters, markup, table signs, ends of lines: in ids, tags and questions."""
    some = [
        replace(
            t, id=f"{i}{ODD}", tags={ODD: ("=a", ODD)[i % 2]}, prompt=(t.prompt[0], f"{ODD}{i}")
        )
        for i, t in enumerate(tasks())
    ]
    report = run(Oracle(some), some, out=tmp_path, settings=Settings(name=ODD))
    assert (report.total.n, report.total.accuracy, len(report.by_tag)) == (4, 1.0, 1)
    assert [a.task_id for a in read_samples(tmp_path)] == [t.id for t in some]
    again = Oracle(some)
    assert run(again, some, out=tmp_path, settings=Settings(name=ODD)).total == report.total
    assert again.asked == []
    to_markdown([report]).encode()
    print_json(report.to_json())
    assert json.loads(capsys.readouterr().out)["name"] == ODD
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    table = (tmp_path / "report.md").read_text().splitlines()[:5]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [9] * 5
    write_inspect_log(tmp_path, tmp_path / "log.json")
    assert json.loads((tmp_path / "log.json").read_text())["samples"][0]["id"] == some[0].id


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    """Two lines written at once would be torn, and the trace would be lost for both."""
    some = tasks(2)

    class Nosy(Oracle):
        async def chat(self, *args):
            with pytest.raises(DataError, match="another evaluation is under way"):
                await evaluate(
                    some,
                    renderer=RENDERER,
                    engine=Oracle(some),
                    toolbox=Toolbox(["zoom"]),
                    out=tmp_path,
                )
            with pytest.raises(DataError, match="another evaluation is under way"):
                await rescore(some, tmp_path, metric="exact_match")
            return await super().chat(*args)

    assert run(Nosy(some), some, out=tmp_path).total.accuracy == 1.0
    assert run(Oracle(some), some, out=tmp_path).total.n == 2


def test_a_policy_that_was_moved_is_the_same_policy(tmp_path):
    some = tasks(1)
    run(Oracle(some), some, out=tmp_path, settings=Settings(policy="/a/model", weights="w"))
    engine = Oracle(some)
    there = run(engine, some, out=tmp_path, settings=Settings(policy="/b/model", weights="w"))
    assert engine.asked == []
    assert there.card["policy"] == "/b/model"
    for other in (Settings(policy="/b/model", weights="v"), Settings(policy="/b/model")):
        with pytest.raises(DataError, match="weights"):
            run(Oracle(some), some, out=tmp_path, settings=other)
    named = tmp_path / "no digest"
    run(Oracle(some), some, out=named, settings=Settings(policy="a"))
    with pytest.raises(DataError, match="policy"):
        run(Oracle(some), some, out=named, settings=Settings(policy="b"))


@pytest.mark.parametrize("temperature", [float("inf"), float("nan"), -1.0])
def test_temperatures_that_are_none_are_refused(temperature):
    with pytest.raises(DataError, match="temperature"):
        Settings(sampling=Sampling(temperature=temperature))


def test_sweeps_take_numbers_and_each_once():
    box = Toolbox(["zoom"])
    with pytest.raises(DataError, match="limits above zero"):
        budgets(Settings(), box, "seconds=1,nan")
    assert [v.name for v in budgets(Settings(), box, "max_turns=2,1,2")] == [
        "max_turns=2",
        "max_turns=1",
    ]
    assert [v.name for v in controlled(Settings(), box, ["off", "off"])] == ["main", "off"]


def test_attempts_that_cannot_differ_are_told(tmp_path, capsys):
    words = ["eval", own_file(tmp_path, 1), "--max-turns", "1", "-k", "2", "--out"]
    assert vtool([*words, str(tmp_path / "a")]) == 0
    assert "temperature 0" in capsys.readouterr().err
    assert vtool([*words, str(tmp_path / "b"), "--temperature", "1"]) == 0
    assert capsys.readouterr().err == ""


def test_an_evaluation_of_which_nothing_could_be_played_fails(tmp_path, capsys):
    path = own_file(tmp_path, 2)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[:200])
    words = ["eval", path, "--max-turns", "1", "--out"]
    assert vtool([*words, str(tmp_path / "a")]) == 0  # one of two was
    (tmp_path / "1.png").write_bytes(whole[:200])
    assert vtool([*words, str(tmp_path / "b")]) == 1
    assert "2 attempts broke" in capsys.readouterr().out


WANTED = {
    "exact_match": {"boxes": [[1, 2, 30, 40]]},
    "anls": {"options": ["red", "blue"], "answer": "red"},
    "box_at_half": {"answer": "red"},
    "plain": {"points": [[3, 4]]},
}


@pytest.mark.parametrize("metric", WANTED)
def test_a_metric_that_cannot_read_the_references_is_refused(tmp_path, capsys, metric):
    """Else every answer would be wrong, and the number would look like the policy's."""
    path = tmp_path / "mine.jsonl"
    (tmp_path / "0.png").write_bytes(Image(textured(80, 60, 0)).encode())
    path.write_text(json.dumps({"image": "0.png", "question": "what?", **WANTED[metric]}) + "\n")
    words = ["eval", str(path), "--metric", metric, "--out", str(tmp_path / "o")]
    assert vtool(words) == 2
    assert metric in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert vtool([*words, "--predict-only", "--max-turns", "1"]) == 0
    assert vtool([*words, "--rescore"]) == 2


@pytest.mark.parametrize("published", [False, True])
def test_every_benchmark_s_metric_can_read_its_references(tmp_path, published):
    for name in miniatures.MINIATURES:
        root = miniatures.write(name, 0, tmp_path / name)
        opened = open_benchmark(name, root, as_published=published)
        check_fit(opened.metric, opened.tasks, opened.benchmark.says)
