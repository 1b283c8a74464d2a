"""Traces: what was written comes back, also after a writer that was killed, and nothing else."""

import json

import numpy as np
import pytest

from vtool.errors import MediaError, TraceError
from vtool.record import Episode, StopReason
from vtool.store import Cloud, DepthMap, value_digest
from vtool.trace import TraceWriter, read_trace


def write(folder, *episodes):
    with TraceWriter(folder) as writer:
        for episode in episodes:
            writer.write(episode)


def test_a_leaf_of_an_episode_is_read_as_that_leaf(tmp_path):
    episode = Episode(task_id="a")
    first, second = episode.open("policy"), episode.open("policy")
    first.stop = second.stop = StopReason.ANSWERED
    first.answer, second.answer = "right", "wrong"
    leaf = episode.leaves()[0]
    write(tmp_path, leaf)
    (back,) = read_trace(tmp_path)
    assert (back.episode.leaf, back.episode.answer) == (leaf.leaf, "right")
    assert back.episode.final.number == leaf.final.number


def test_a_torn_last_line_is_dropped_before_more_is_written(tmp_path):
    write(tmp_path, Episode(task_id="a"), Episode(task_id="b"))
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    write(tmp_path, Episode(task_id="c"))
    assert [r.task_id for r in read_trace(tmp_path)] == ["a", "c"]


def test_a_damaged_line_is_named(tmp_path):
    write(tmp_path, Episode(task_id="a"))
    path = tmp_path / "episodes.jsonl"
    body = json.loads(path.read_text())
    body["episode"]["store"] = [5]  # an entry that no media list holds
    path.write_text(json.dumps(body) + "\n")
    with pytest.raises(TraceError, match="line 1"):
        list(read_trace(tmp_path))


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "episodes.jsonl").write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(TraceError, match="line 1"):
        list(read_trace(tmp_path))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DepthMap(np.ones((2, 2))),
        lambda: DepthMap(np.ones((2, 2, 1), np.float32)),
        lambda: Cloud(np.ones((2, 3))),
        lambda: Cloud(np.ones((2, 2), np.float32)),
    ],
)
def test_values_that_would_not_come_back_as_they_were_are_refused(make):
    with pytest.raises(MediaError, match="float32"):
        make()


def test_metres_and_relative_depth_are_two_values():
    cells = np.ones((2, 2), np.float32)
    assert value_digest(DepthMap(cells, metric=True)) != value_digest(DepthMap(cells))
