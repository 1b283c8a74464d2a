"""Evaluations among odd files, odd judges, odd metrics and odd people: told, never miscounted."""

from __future__ import annotations

import csv
import json
import threading
from collections import OrderedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vtool.eval.formats import parquet, tables

from vtool.errors import DataError


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
