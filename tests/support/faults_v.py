"""Group V of the fault catalogue: video and time.

Cases read files through `Video.open` and the toolbox. Where the guard lies in what the worker
process runs, the case runs that work here (`here`), so that the guard can be taken away.
"""

import asyncio
import contextlib
import itertools
import os
import signal
from fractions import Fraction
from unittest import mock

import av
import numpy as np
import video_files as vf
from vtool.vision_tools.crop_video import crop_video
from vtool.vision_tools.glance import glance
from vtool.vision_tools.resample import resample
from vtool.vision_tools.select_frames import select_frames

from vtool.dialects.hermes import Hermes
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox, ToolBroken
from vtool.video import worker
from vtool.video.cache import FRAMES
from vtool.video.errors import REASONS, VideoError
from vtool.video.pool import Pool
from vtool.video.source import Mode, Video


@contextlib.contextmanager
def apart(folder):
    """Tables of times go into the test's own folder; no frame is left over."""
    FRAMES.clear()
    with mock.patch.dict(os.environ, {"VTOOL_CACHE": str(folder / "cache")}):
        yield


class Here:
    """A pool that does the worker's work in this process."""

    def __init__(self):
        self.asked = []
        self.files = worker.Files()

    def ask(self, request, seconds):
        from vtool.video import libav

        self.asked.append(request)
        try:
            answers = list(worker._do(self.files, request))
        except libav.Refused as err:
            raise VideoError(REASONS[str(err)]) from err
        return [(b, np.frombuffer(bytes(blob), np.uint8)) for b, blob in answers]


def using(pool, place="vtool.video.source.shared_pool"):
    return mock.patch(place, return_value=pool)


@contextlib.contextmanager
def here(folder):
    pool = Here()
    places = ("vtool.video.source.shared_pool", "vtool.video.reader.shared_pool")
    with apart(folder), using(pool, places[0]), using(pool, places[1]):
        yield pool


def small(folder, name="a.mp4", count=50, **options):
    return vf.write(folder / name, vf.constant(count), size=(64, 48), **options)


def opened(path, **options):
    """`read`, or the code of the refusal."""
    try:
        Video.open(path, **options)
        return "read"
    except VideoError as err:
        return str(err.code)


def call(video, name, **arguments):
    """The tool message of one call, and what the model reads."""
    store = Store()
    store.add(video)
    toolbox = Toolbox([resample, glance, select_frames, crop_video], cache=False)
    calls = [ToolCall(name, {"video": "video_1", **arguments})]
    message = asyncio.run(toolbox.run(calls, store, Hermes(), lambda handle: None))[0]
    words = "".join(getattr(p, "text", "") for p in Hermes().observe([message], store))
    return message, words, store


def code(video, name, **arguments):
    fault = call(video, name, **arguments)[0].outcomes[0].fault
    return "none" if fault is None else str(fault.code)


def v1(folder):
    """Garbage, a good header over garbage, and a file that ends after a tenth."""
    good = small(folder, container={"movflags": "faststart"})
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    data = bytearray(good.read_bytes())
    at = data.index(b"mdat") + 4
    data[at:] = bytes(len(data) - at)
    (folder / "zeros.mp4").write_bytes(data)
    vf.truncate(small(folder, "late.mp4"), folder / "cut.mp4", 0.1)
    with here(folder):
        return ", ".join(opened(folder / f"{n}.mp4") for n in ("noise", "zeros", "cut"))


def accepted(file):
    """Takes it that there is a picture."""
    frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
    frame.pts = 0
    return frame


def v1_hang(folder):
    """A worker that hangs is late once; the next call has another one."""
    path, pool = small(folder), Pool(most=1)
    with apart(folder), using(pool):
        Video.open(path)
        os.kill(pool.pids[0], signal.SIGSTOP)
        said = [late(path, 0.5), late(path, 5.0)]
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
    return ", ".join(said)


def late(path, seconds):
    try:
        Video.open(vf.copy(path, path.with_name("b.mp4")), seconds=seconds).times_s.sum()
        return "read"
    except VideoError as err:
        return str(err.code)


def v1_crash(folder):
    """A worker that was killed is replaced, and the call goes on."""
    path, pool = small(folder), Pool(most=1)
    with apart(folder), using(pool):
        video = Video.open(path, seconds=5.0)
        os.kill(pool.pids[0], signal.SIGKILL)
        return code(video, "resample", span=[0, 1])


def v2(folder):
    with apart(folder):
        video = Video.open(small(folder))
        return ", ".join(code(video, "resample", span=s) for s in ([1, 1], [1.5, 0.5]))


def v3(folder):
    with apart(folder):
        video = Video.open(small(folder))
        words = call(video, "resample", span=[1, 60])[1]
        told = "told" if "[1.0, 2.0]" in words and "ends at 2.0 s" in words else "untold"
        return f"{told}, {code(video, 'resample', span=[2.5, 60])}"


def unclamped(span, duration_s):
    return span, False


def v4(folder):
    pts = vf.variable(120, seed=3, gap_at=40)
    with apart(folder):
        video = Video.open(vf.write(folder / "v.mp4", pts, size=(64, 48)))
        times = [(a + b) / 2 / 12800 for a, b in itertools.pairwise(pts)][::5]
        seen = vf.numbers(video.clip(times))
    return "right frames" if seen == list(range(0, 119, 5)) else "wrong frames"


def by_average_rate(self, pts):
    """The frame of index = time times the average rate."""
    share = (pts - self.pts[0]) / (self.end - self.pts[0])
    return np.clip(np.round(share * len(self.pts)), 0, len(self.pts) - 1).astype(np.int64)


def v5(folder):
    """Packets out of order, a start that is not 0, frames that an edit list cuts off."""
    base = Fraction(1, 12800)
    odd = vf.write(folder / "o.mp4", vf.constant(60, start=1733), base=base, b_frames=3, gop=20)
    cut = vf.cut_start(odd, folder / "c.mp4", 1.3)
    with here(folder):
        whole, part = Video.open(odd), Video.open(cut)
        seen = vf.numbers(whole.clip(whole.times_s.tolist()))
        rest = vf.numbers(part.clip(part.times_s.tolist()))
        right = seen == list(range(60)) and rest == list(range(60 - len(rest), 60))
        starts = float(whole.times_s[0]) == 0.0 and len(rest) < 40
    return "right frames" if right and starts else "wrong frames"


def packets_as_they_come(shown, keys, shifted):
    """Takes the order of the packets for that of the frames."""
    return {
        "pts": [p for p, _ in shown],
        "keys": [0],
        "key_pts": [shown[0][0]],
        "seeks": [keys[0][1]],
        "end": shown[-1][0] + 512,
        "counted": False,
    }


def v6(folder):
    with apart(folder):
        video = Video.open(small(folder))
        return ", ".join(code(video, "resample", span=[0, 1], fps=f) for f in (1e6, -1))


def v6_zero(folder):
    with apart(folder):
        return code(Video.open(small(folder)), "resample", span=[0, 1], fps=0)


def v7(folder):
    """Long files: nothing walks through them, and the frames are the right ones all the same."""
    with here(folder) as pool, mock.patch("vtool.video.source.LONG_FRAMES", 100):
        video = Video.open(small(folder, count=400, b_frames=2, gop=25))
        seen = vf.numbers(video.clip([10.0, 10.2, 11.0]))
        video.clip([0.0, 8.0, 15.9], mode=Mode.KEYFRAME)
        walked = any(r["op"] == "scan" and r["low"] is None for r in pool.asked)
    return f"{seen}, {'walked' if walked else 'no walk'}"


def v7_budget(folder):
    with apart(folder):
        video = Video.open(vf.write(folder / "w.mp4", vf.constant(30), size=(1280, 720)))
        store = call(video, "resample", span=[0, 1], count=16)[2]
        clip = store["clip_1"].value
        return f"{clip.size[0] * clip.size[1] * len(clip.frames) <= 3_211_264}"


def native(self, native, frames, share=1.0):
    return native


def v8(folder):
    """One frame; fewer than were asked for; the count is told."""
    with apart(folder):
        one = Video.open(small(folder, "one.mp4", count=1))
        few = Video.open(small(folder, "few.mp4", count=3))
        said = [call(one, "resample", span=[0, 1], count=8)[1]]
        said += [call(few, "resample", span=[0, 1], count=8)[1]]
    right = "1 frame (asked for 8" in said[0] and "3 frames (asked for 8" in said[1]
    return "count told" if right else "count untold"


def times_only(clip, asked, notes=()):
    return f"frames at {clip.times_s}"


def v9(folder):
    path = small(folder, rotate=90, draw=lambda n, w, h: np.rot90(vf.picture(n, h, w), -1))
    with here(folder):
        video = Video.open(path)
        seen = vf.numbers(video.clip([0.0, 0.4]))
        return f"{video.size}, {seen}"


def v9_pixels(folder):
    with here(folder):
        video = Video.open(small(folder, sar=(4, 3)))
        return f"{video.size}, {'square' in video.describe()}"


def square(frame, stream):
    return (1, 1)


def v10(folder):
    """Sound alone, words alone, an encrypted stream, one that says so."""
    with av.open(str(folder / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (folder / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    good = small(folder)
    data = bytearray(good.read_bytes())
    at, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    noise = np.random.default_rng(1).integers(0, 256, end - at, dtype=np.uint8)
    data[at:end] = (np.frombuffer(bytes(data[at:end]), np.uint8) ^ noise).tobytes()
    (folder / "sealed.mp4").write_bytes(data)
    (folder / "said.mp4").write_bytes(data.replace(b"avc1", b"encv"))
    names = ("sound.mp4", "words.srt", "sealed.mp4", "said.mp4")
    with here(folder):
        return ", ".join(opened(folder / n) for n in names)


def v11(folder):
    with apart(folder):
        video = Video.open(small(folder))
        spans = (["0:00", "0:01"], ["0s", "1s"])
        return ", ".join(code(video, "resample", span=s) for s in spans)


def guessed_numbers(param, raw, count):
    """Reads "mm:ss" and "75s" as it thinks they are meant."""
    return [float(str(v).rstrip("s").rpartition(":")[2]) for v in raw]


def v12(folder):
    """A library that counts other frames than the table of times is not asked for frames."""
    whole = small(folder, count=60, gop=20)
    cut = vf.cut_start(whole, folder / "c.mp4", 1.0)
    with apart(folder):
        ours, theirs = Video.open(whole), Video.open(whole, reader="decord")
        times = ours.times_s[::7].tolist()
        same = vf.numbers(ours.clip(times)) == vf.numbers(theirs.clip(times))
        return f"{same}, {code(Video.open(cut, reader='decord'), 'resample', span=[0, 1])}"


def v13(folder):
    """Files that name others: an HLS playlist, a concat list, a playlist of an address."""
    small(folder)
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    body = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    (folder / "far.m3u8").write_text(body.format("http://127.0.0.1:9/a.ts"))
    with here(folder):
        names = (folder / "list.mp4", folder / "far.m3u8", "http://127.0.0.1:9/a.mp4")
        return ", ".join(opened(n) for n in names)


def anything():
    return {}


def v14(folder):
    """A file that was changed after it was opened."""
    with apart(folder):
        path = small(folder)
        video = Video.open(path)
        vf.copy(small(folder, "b.mp4", count=20), path)
        try:
            return code(video, "resample", span=[0, 1])
        except ToolBroken:
            return "ours"
