"""Test videos: every frame carries its number as a grid of blocks that survives any size.

Made with PyAV's own encoders, seeded, small. `write` takes the presentation times as they are,
so that constant and variable rates, odd starts and gaps are all one function.
"""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

COLUMNS, ROWS = 8, 4
BITS = 20
"""Blocks of the number; the other twelve are its complement's low bits: a check."""


def picture(number, width=128, height=96):
    """A frame that says its number: 8 x 4 blocks, white for one."""
    bits = [(number >> i) & 1 for i in range(BITS)]
    bits += [1 - b for b in bits[: COLUMNS * ROWS - BITS]]
    grid = np.array(bits, dtype=np.uint8).reshape(ROWS, COLUMNS) * 215 + 20
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(grid[rows][:, columns][:, :, None], 3, axis=2)


def number(pixels):
    """The number of a frame as it came back; -1 where the blocks contradict themselves."""
    height, width = pixels.shape[:2]
    ys = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
    xs = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    bits = (pixels[ys][:, xs].mean(axis=2).reshape(-1) > 127).astype(int)
    low = bits[:BITS]
    if any(low[i] == bits[BITS + i] for i in range(COLUMNS * ROWS - BITS)):
        return -1
    return int(sum(int(b) << i for i, b in enumerate(low)))


def numbers(clip):
    """The numbers of a clip's frames."""
    return [number(f.pixels) for f in clip.frames]


def write(
    path,
    pts,
    *,
    base=Fraction(1, 12800),
    size=(128, 96),
    codec="libx264",
    gop=12,
    b_frames=0,
    rotate=None,
    sar=None,
    draw=picture,
    options=None,
    container=None,
    first=0,
):
    """Write a video whose frame i shows `first + i` and is presented at `pts[i]` in `base`."""
    with av.open(str(path), "w", container_options=container or {}) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        stream.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        if sar:
            stream.codec_context.sample_aspect_ratio = Fraction(*sar)
        if rotate is not None:
            stream.set_display_rotation(rotate)
        fast = {"preset": "ultrafast", "crf": "20", "sc_threshold": "0"}
        if codec == "libx264":
            stream.options = {**fast, "bf": str(b_frames), "g": str(gop), **(options or {})}
        else:
            stream.options = dict(options or {})
        for i, at in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(draw(first + i, *size), format="rgb24")
            frame.pts, frame.time_base = int(at), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Path(path)


def constant(count, fps=25, base=Fraction(1, 12800), start=0):
    """Presentation times of a constant rate."""
    return [start + round(i / fps / base) for i in range(count)]


def variable(count, seed=0, base=Fraction(1, 12800), gap_at=None, gap_s=4.0):
    """Irregular presentation times; one long gap if asked for."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 1, 1, 2, 3, 5], count) * round(1 / 30 / base)
    steps += rng.integers(0, 37, count)
    if gap_at is not None:
        steps[gap_at] += round(gap_s / base)
    return [0, *np.cumsum(steps)[:-1].tolist()]


def repeat(path, out, times, length):
    """The same stream written `times` times, `length` units apart, packets untouched."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        template = source.streams.video[0]
        stream = target.add_stream_from_template(template)
        packets = [
            (bytes(p), p.pts, p.dts, p.duration, p.is_keyframe)
            for p in source.demux(template)
            if p.size
        ]
        for i in range(times):
            for data, pts, dts, duration, key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + i * length, dts + i * length
                packet.duration = duration
                packet.time_base, packet.stream = template.time_base, stream
                packet.is_keyframe = key
                target.mux(packet)
    return Path(out)


def cut_start(path, out, seconds):
    """The stream from `seconds` on by an edit list: packets from the keyframe before are kept."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        template = source.streams.video[0]
        stream = target.add_stream_from_template(template)
        shift = round(seconds / template.time_base)
        source.seek(shift, stream=template, backward=True)
        for packet in source.demux(template):
            if packet.size:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                target.mux(packet)
    return Path(out)


def truncate(path, out, share):
    """The first part of a file's bytes."""
    data = Path(path).read_bytes()
    Path(out).write_bytes(data[: int(len(data) * share)])
    return Path(out)


def patched(path, out, old, new):
    """The file with some bytes replaced."""
    data = Path(path).read_bytes()
    assert old in data
    Path(out).write_bytes(data.replace(old, new))
    return Path(out)


def copy(path, out):
    """A copy."""
    shutil.copyfile(path, out)
    return Path(out)


BASE = Fraction(1, 12800)
VARIABLE = variable(150, seed=1, gap_at=60)
NAMES = [
    "constant.mp4",
    "b_frames.mp4",
    "variable.mp4",
    "odd_start.mkv",
    "cinema.mp4",
    "stream.ts",
    "old.avi",
    "one_group.mp4",
    "all_intra.mp4",
    "free.webm",
]
MILLISECONDS = {"odd_start.mkv", "free.webm"}
"""Matroska rounds times to milliseconds when it is written."""


def samples(folder):
    """One file of each sort: its path, the presentation times of its frames, and their unit."""
    files = {}

    def add(name, pts, base=BASE, **options):
        files[name] = (write(folder / name, pts, base=base, **options), pts, base)

    add("constant.mp4", constant(150))
    add("b_frames.mp4", constant(150), b_frames=3, gop=50)
    add("variable.mp4", VARIABLE, b_frames=2)
    add("odd_start.mkv", constant(90, start=7777), b_frames=2)
    add(
        "cinema.mp4",
        constant(90, Fraction(24000, 1001), Fraction(1, 24000)),
        b_frames=2,
        base=Fraction(1, 24000),
    )
    add("stream.ts", constant(90), b_frames=2)
    add("old.avi", list(range(90)), codec="mpeg4", b_frames=2, base=Fraction(1, 25))
    add("one_group.mp4", constant(150), gop=1000)
    add("all_intra.mp4", constant(60), gop=1)
    vp9 = {"cpu-used": "8", "deadline": "realtime"}
    add("free.webm", constant(60), codec="libvpx-vp9", options=vp9)
    return files


def true_times(made, name):
    _, pts, base = made[name]
    times = [float((p - pts[0]) * base) for p in pts]
    if name in MILLISECONDS:
        units = [round(float(p * base) * 1000) for p in pts]
        times = [(u - units[0]) / 1000 for u in units]
    return times
