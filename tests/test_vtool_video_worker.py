"""What surrounds a video: its worker, its caches, its subtitles, its place in store and trace."""

import os
import signal
import subprocess
import sys
import threading
import time

import av
import numpy as np
import psutil
import pytest
import video_files as vf

from vtool.errors import FaultCode, TraceError
from vtool.message import Author, Message, Role, Text
from vtool.record import Episode
from vtool.store import Store
from vtool.trace import TraceRecord, read_trace, write_trace
from vtool.video import index, pool, wire
from vtool.video.cache import FRAMES, FrameCache
from vtool.video.errors import ReaderError, VideoError
from vtool.video.source import Video
from vtool.video.subtitles import Cue, cues, read_cues


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VTOOL_CACHE", str(tmp_path / "cache"))
    FRAMES.clear()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return vf.samples(tmp_path_factory.mktemp("videos"))


def test_the_cache_is_bounded_by_bytes():
    cache = FrameCache(limit=3000)
    for pts in range(10):
        cache.put({("d", "pyav", pts, 20, 15, None): np.zeros((15, 20, 3), np.uint8)})
    assert cache.bytes == 2700
    assert len(cache) == 3
    assert not cache.get([("d", "pyav", 6, 20, 15, None)])
    assert cache.get([("d", "pyav", 9, 20, 15, None)])
    cache.put({("d", "pyav", 99, 200, 150, None): np.zeros((150, 200, 3), np.uint8)})
    assert cache.bytes == 2700


def test_tables_are_kept_by_content_and_never_beside_the_file(made, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = vf.copy(made["constant.mp4"][0], folder / "a.mp4")
    first = Video.open(path)
    first.table()
    again = Video.open(vf.copy(path, folder / "b.mp4"))
    assert index.kept(first.digest) is not None
    assert np.array_equal(again.table().pts, first.table().pts)
    assert again.head == first.head
    assert sorted(p.name for p in folder.iterdir()) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-8], lambda d: b"x" + d, lambda d: b"", lambda d: d[:25]]
)
def test_a_damaged_table_is_made_anew(made, damage):
    video = Video.open(made["constant.mp4"][0])
    count = len(video.table())
    file = index.cache_folder() / f"{video.digest}.table"
    file.write_bytes(damage(file.read_bytes()))
    assert index.kept(video.digest) is None
    assert len(Video.open(made["constant.mp4"][0]).table()) == count


def test_a_cache_that_cannot_be_written_is_done_without(made, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VTOOL_CACHE", str(tmp_path / "file"))
    assert len(Video.open(made["constant.mp4"][0]).table()) == 150


def test_deadline_ends_a_long_decoding_and_the_next_call_works(tmp_path):
    """One group of pictures from start to end: its last frame costs all of them."""
    size = (640, 480)
    path = vf.write(tmp_path / "l.mp4", vf.constant(900), gop=10_000, size=size)
    video = Video.open(path, seconds=20)
    times = video.times_s
    hurried = Video.open(path, seconds=0.04)
    start = time.monotonic()
    with pytest.raises(VideoError, match="within") as caught:
        hurried.clip([float(times[-1])])
    assert caught.value.code is FaultCode.TIMEOUT
    assert time.monotonic() - start < 2
    assert vf.numbers(video.clip([float(times[30])], size=(64, 48))) == [30]


def test_a_hanging_file_does_not_hold_up_another(made, monkeypatch):
    own = pool.Pool(most=2)
    monkeypatch.setattr("vtool.video.source.shared_pool", lambda: own)
    first = Video.open(made["constant.mp4"][0], seconds=3.0)
    second = Video.open(made["b_frames.mp4"][0])
    stopped = own.pids[0]
    os.kill(stopped, signal.SIGSTOP)
    caught = []

    def hang():
        with pytest.raises(VideoError) as error:
            first.table()
        caught.append(error.value.code)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.2)
    assert len(second.table()) == 150
    assert thread.is_alive()
    thread.join()
    assert caught == [FaultCode.TIMEOUT]
    assert not psutil.pid_exists(stopped)
    own.close()


def dying(signal_number):
    """A pool whose workers end themselves as soon as they are asked."""

    class Dying(pool.Worker):
        def ask(self, request, seconds):
            os.kill(self.pid, signal_number)
            return super().ask(request, seconds)

    return Dying


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGKILL, ReaderError), (signal.SIGSEGV, VideoError), (signal.SIGABRT, VideoError)],
)
def test_a_decoder_that_crashes_is_the_files_fault_one_that_is_killed_ours(
    made, monkeypatch, number, error
):
    own = pool.Pool(most=1)
    monkeypatch.setattr(pool, "Worker", dying(number))
    with pytest.raises(error):
        own.ask({"op": "head", "path": str(made["constant.mp4"][0]), "threads": 1}, 5.0)
    monkeypatch.undo()
    assert own.ask({"op": "head", "path": str(made["constant.mp4"][0]), "threads": 1}, 5.0)
    own.close()


def test_having_no_worker_free_is_no_fault_of_the_video(made, monkeypatch):
    own = pool.Pool(most=1)
    monkeypatch.setattr("vtool.video.source.shared_pool", lambda: own)
    video = Video.open(made["constant.mp4"][0], seconds=1.5)
    busy = own._take("another", 1.0)
    with pytest.raises(ReaderError, match="busy"):
        video.table()
    own._give(busy)
    assert len(video.table()) > 0
    own.close()


def test_a_worker_ends_with_its_parent(made):
    program = (
        "import sys; sys.path.insert(0, 'tests/support')\n"
        "from vtool.video.source import Video\nfrom vtool.video.pool import shared_pool\n"
        f"Video.open({str(made['constant.mp4'][0])!r})\n"
        "print(shared_pool().pids[0], flush=True)\nimport os; os._exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie":
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_a_fork_gets_workers_of_its_own(made):
    """A forked child must not speak on its parent's pipes."""
    video = Video.open(made["constant.mp4"][0])
    video.clip([0.0])
    child = os.fork()
    if child == 0:
        ok = vf.numbers(video.clip([2.0])) == [50]
        pool.shared_pool().close()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert vf.numbers(video.clip([1.0])) == [25]


def test_messages_are_whole_or_refused():
    source, sink = os.pipe()
    wire.send(sink, {"a": 1}, None, b"xyz")
    body, blob = wire.receive(source, time.monotonic() + 1)
    assert (body, bytes(blob)) == ({"a": 1}, b"xyz")
    with pytest.raises(wire.Silence):
        wire.receive(source, time.monotonic() + 0.05)
    os.write(sink, b"\xff" * 8)
    with pytest.raises(wire.Hangup):
        wire.receive(source, time.monotonic() + 1)
    os.close(sink)
    with pytest.raises(wire.Hangup):
        wire.receive(source, None)
    os.close(source)


def test_a_reader_that_does_not_read_is_given_up():
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    with pytest.raises(wire.Silence):
        wire.send(sink, {"a": "x" * 500_000}, time.monotonic() + 0.1)
    os.close(source)
    os.close(sink)


def test_pipes_folders_and_absent_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (
        tmp_path,
        tmp_path / "pipe.mp4",
        tmp_path / "none.mp4",
        "http://127.0.0.1:9/a.mp4",
    ):
        with pytest.raises(VideoError) as caught:
            Video.open(path)
        assert str(tmp_path) not in str(caught.value)


SRT = (
    "\ufeff1\r\n00:00:00,500 --> 00:00:01,500\r\n<i>Hello</i>, one\r\ntwo\r\n\r\n"
    "2\r\n00:01:02,000 --> 00:01:01,000\r\nbackwards\r\n\r\nnot a cue\r\n\r\n"
    "3\r\n01:00:00,000 --> 01:00:00,250\r\n{\\an8}Late &amp; last\r\n"
)
VTT = "WEBVTT\n\nNOTE x\n\nid\n00:00.500 --> 00:01.500 align:start\nHello, one two\n"


def test_subtitle_files():
    said = Cue(0.5, 1.5, "Hello, one two")
    assert list(read_cues(SRT)) == [said, Cue(3600.0, 3600.25, "Late & last")]
    assert list(read_cues(VTT)) == [said]


def test_subtitles_beside_and_inside(made, tmp_path):
    path = vf.copy(made["constant.mp4"][0], tmp_path / "talk.mp4")
    video = Video.open(path)
    assert cues(video) == ()
    (tmp_path / "talker.srt").write_text(SRT)
    assert cues(video) == ()
    (tmp_path / "talk.en.srt").write_text(SRT)
    assert cues(video)[0].text == "Hello, one two"
    with (
        av.open(str(path)) as film,
        av.open(str(tmp_path / "talk.en.srt")) as words,
        av.open(str(tmp_path / "in.mkv"), "w") as out,
    ):
        pairs = [(c.streams[0], out.add_stream_from_template(c.streams[0])) for c in (film, words)]
        for (source, target), box in zip(pairs, (film, words), strict=True):
            for packet in box.demux(source):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    inside = cues(Video.open(tmp_path / "in.mkv"))
    assert inside[0] == Cue(0.5, 1.5, "Hello, one two")


def episode_with(video):
    store = Store()
    store.add(video)
    episode = Episode(task_id="t", seed=0, store=store)
    return episode


def test_a_trace_keeps_the_file_and_reads_it_back(made, tmp_path):
    video = Video.open(made["variable.mp4"][0])
    write_trace(tmp_path / "trace", [TraceRecord(episode_with(video))] * 2)
    files = list((tmp_path / "trace" / "media").iterdir())
    assert [f.name for f in files] == [f"{video.digest}.mp4"]
    again = next(iter(read_trace(tmp_path / "trace"))).episode.store["video_1"].value
    assert again == video
    assert again.head == video.head
    assert vf.numbers(again.clip([1.0])) == vf.numbers(video.clip([1.0]))
    files[0].unlink()
    files[0].write_bytes(b"other")
    with pytest.raises(TraceError, match="digest"):
        list(read_trace(tmp_path / "trace"))


def test_a_video_in_a_prompt_is_named_not_shown(made):
    import asyncio

    from vtool.environment import ToolEnvironment
    from vtool.task import Answer, Task
    from vtool.toolbox import Toolbox

    video = Video.open(made["constant.mp4"][0])
    task = Task(id="t", prompt=(video, "what happens?"), reference=Answer(("x",)))
    env = ToolEnvironment(task, Toolbox(["resample"]))
    (question,) = asyncio.run(env.reset())
    assert question == Message(
        role=Role.USER,
        author=Author.USER,
        parts=(Text("$video_1 (6.00 s, 128x96)"), Text("what happens?")),
    )
    assert env.store["video_1"].kind == "video"
    assert env.store.size("video_1") == (128, 96)
    assert task.media == (video,)
