"""Evaluations among odd files, odd judges, odd metrics and odd people: told, never miscounted."""

from __future__ import annotations

import contextlib
import csv
import json
import socket
import threading
from collections import OrderedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import Oracle, run, tasks
from pictures import textured
from vtool.eval.formats import parquet, tables
from vtool.eval.http_judge import HttpJudge
from vtool.eval.judging import Judging, Verdicts

from vtool.cli import main
from vtool.errors import DataError
from vtool.media import Image


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
