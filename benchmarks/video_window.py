"""Frames of a video for a model: glances and windows, ours against what people use.

    OMP_NUM_THREADS=1 python benchmarks/video_window.py [--peers FOLDER ...] [--files FOLDER]

Files are 10 minutes of 1280x720 H.264 with B-frames, texture in motion, and each frame's number in
it: groups of 30 and of 250 frames, constant and variable rate (irregular steps, gaps of 4 s). Every
run is a process of its own that opens the file, reads, and checks the number of every frame against
the true time asked for. CPU seconds of the process and its children, without imports; peak memory
above what the imports took (of our worker process all of it counts).

- `glance`: 64 frames spread over the file; `window`: 16 frames of 8 s; at 644x364.
- `ours`: exact, through the worker; `ours_keys`: keyframes with their true times;
- `decord`, `torchcodec`: by their own tables of times, one thread, their own scaling;
- `qwen`: `fetch_video` of qwen-vl-utils with decord (`qwen_torchcodec`: with torchcodec); it
  chooses frames by index: wrong is where another frame is on the screen at the time it claims.
- `group`: 8 members ask for one glance and six windows each: one cache for all, and none.

Peers that are not installed here may be in folders of their own (`--peers`); those that cannot be
imported are left out, with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import _timing
import _video_page
import numpy as np
import psutil
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import torchvision_shim
import video_files as vf
from _video_world import BASE, FPS, MINUTE, MINUTES, asked, make, make_hour, truth

SIZE = (644, 364)
PEERS = ("decord", "torchcodec", "qwen", "qwen_torchcodec")
TARGETS = {"exact_gop30": 2.0, "exact_gop250": 1.3, "keys": 10.0, "group": 6.0, "memory": 4.0}


Frames = list[tuple[float, NDArray[np.uint8]]]
"""Each with the time at which the candidate says that it is."""


def ours(path: str, want: list[float], keys: bool = False) -> Frames:
    """Exact, or keyframes."""
    from vtool.video.source import Mode, Video

    video = Video.open(path, seconds=300.0)
    clip = video.clip(want, size=SIZE, mode=Mode.KEYFRAME if keys else Mode.EXACT)
    return [(t, f.pixels) for t, f in zip(clip.times_s, clip.frames, strict=True)]


def by_decord(path: str, want: list[float]) -> Frames:
    """decord, by its table of timestamps."""
    import decord

    file = decord.VideoReader(path, width=SIZE[0], height=SIZE[1], num_threads=1)
    table = file.get_frame_timestamp(range(len(file)))[:, 0]
    rows = np.searchsorted(table, want, side="right") - 1
    frames = file.get_batch(rows.tolist()).asnumpy()
    return list(zip(table[rows].tolist(), frames, strict=True))


def by_torchcodec(path: str, want: list[float]) -> Frames:
    """torchcodec, frames played at these times."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    transforms = [Resize((SIZE[1], SIZE[0]))]
    file = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, transforms=transforms)
    batch = file.get_frames_played_at(want)
    return list(zip(batch.pts_seconds.tolist(), batch.data.numpy(), strict=True))


def by_qwen(path: str, want: list[float]) -> Frames:
    """qwen-vl-utils as training code calls it: float32 frames; evenly spread by index."""
    from qwen_vl_utils.vision_process import fetch_video

    ask = {"video": path, "nframes": len(want), "resized_width": SIZE[0], "resized_height": SIZE[1]}
    if want[-1] - want[0] < 60:
        ask |= {"video_start": want[0], "video_end": want[-1]}
    video, notes = fetch_video(ask, return_video_metadata=True)
    claimed = [i / notes["fps"] for i in notes["frames_indices"]]
    frames = video.clamp(0, 255).round().byte().permute(0, 2, 3, 1)
    # Its own result is kept alive to here, as it would be by whoever called it.
    return list(zip(claimed, frames.numpy(), strict=True))


READ: dict[str, Callable[[str, list[float]], Frames]] = {
    "ours": ours,
    "ours_keys": lambda path, want: ours(path, want, keys=True),
    "decord": by_decord,
    "torchcodec": by_torchcodec,
    "qwen": by_qwen,
    "qwen_torchcodec": by_qwen,
}


NEEDS = {
    "decord": ("torch", "decord"),
    "torchcodec": ("torch", "torchcodec.decoders", "torchcodec.transforms"),
    "qwen": ("torch", "decord", "qwen_vl_utils.vision_process"),
    "qwen_torchcodec": ("torch", "torchcodec.decoders", "qwen_vl_utils.vision_process"),
}


def load(candidate: str) -> None:
    """Import what a candidate needs, and start our worker: that is done once a run, unmeasured."""
    if candidate.startswith("ours"):
        from vtool.video.errors import VideoError
        from vtool.video.source import Video

        with tempfile.NamedTemporaryFile() as empty, contextlib.suppress(VideoError):
            Video.open(empty.name)
        return
    torchvision_shim.install()
    backend = "torchcodec" if "torchcodec" in candidate else "decord"
    os.environ["FORCE_QWENVL_VIDEO_READER"] = backend
    for name in NEEDS[candidate]:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)


def cost(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it gave; CPU and wall seconds and peak MB of this process and its children."""
    before = _timing.rss_mb()
    start, wall = cpu_of_all(), time.perf_counter()
    got = work()
    seconds, wall = cpu_of_all() - start, time.perf_counter() - wall
    peak = _timing.peak_rss_mb() - before
    peak += sum(high_water(child.pid) for child in psutil.Process().children(recursive=True))
    return got, {"cpu_s": seconds, "wall_s": wall, "peak_mb": peak}


def high_water(pid: int) -> float:
    """Largest resident size of a process so far, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def one_run(candidate: str, op: str, path: str) -> dict[str, Any]:
    """One reading in this process, checked."""
    times = truth(Path(path).stem[:3])
    want = asked(op, times)
    load(candidate)
    frames, spent = cost(lambda: READ[candidate](path, want))
    return {**spent, **checked(candidate, frames, want, times)}


def checked(
    candidate: str, frames: Frames, want: list[float], times: NDArray[np.float64]
) -> dict[str, Any]:
    """How many frames are wrong, and by how much the worst told time is.

    A frame is wrong where it is not the one on the screen at the time asked for. qwen-vl-utils and
    keyframes choose the times themselves: they are held to what they claim, and wrong is what lies
    more than a frame (1/30 s) from it.
    """
    chooses = candidate.startswith(("qwen", "ours_keys"))
    claimed = np.asarray([t for t, _ in frames])
    shown = np.asarray([vf.number(f) for _, f in frames])
    places = shown[:, None] + np.arange(MINUTES) * MINUTE
    off = np.abs(times[places] - claimed[:, None]).min(axis=1)
    right = np.searchsorted(times, want, side="right")[: len(shown)] - 1
    wrong = off > 1 / FPS if chooses else shown != right % MINUTE
    return {"frames": len(frames), "wrong": int(wrong.sum()), "time_error_s": float(off.max())}


def group(path: str) -> dict[str, Any]:
    """Eight members, a glance and six windows each, with one cache for all and with none."""
    from vtool.video.cache import FRAMES
    from vtool.video.source import Video

    times = truth(Path(path).stem[:3])
    looks = [asked("glance", times), *(asked("window", times, w) for w in range(6))]
    out = {}
    for shared in (True, False):
        FRAMES.clear()
        FRAMES.limit = 192 << 20
        start = cpu_of_all()
        for _ in range(8):
            if not shared:
                FRAMES.clear()
            video = Video.open(path, seconds=300.0)
            for want in looks:
                video.clip(want, size=SIZE)
        out["shared_s" if shared else "alone_s"] = cpu_of_all() - start
    return {**out, "ratio": out["alone_s"] / out["shared_s"]}


def cpu_of_all() -> float:
    """CPU seconds of this process and its children."""
    used = [c.cpu_times() for c in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(u.user + u.system for u in used)


def efficiency(path: str) -> dict[str, float]:
    """Frames that the decoder gave, to the fewest with which these could be had."""
    from vtool.video import decode, libav
    from vtool.video.reader import wants
    from vtool.video.source import Video

    table = Video.open(path, seconds=300.0).table()
    times, out = truth(Path(path).stem[:3]), {}
    for op in ("glance", "window"):
        units = np.asarray(asked(op, times)) / float(BASE) + table.pts[0]
        rows = np.unique(table.row_at(units))
        file = libav.open_video(path, 1)
        got = list(
            decode.exact(file, [decode.Want(*w) for w in wants(table, rows)], 4 * table.step)
        )
        keys = table.keys[np.searchsorted(table.keys, rows, side="right") - 1]
        least = sum(int(rows[keys == k].max() - k + 1) for k in np.unique(keys))
        out[op] = file.decoded / least
        assert len(got) == len(rows)
    return out


def hour(path: str) -> dict[str, float]:
    """An hour: wall seconds of the table and of a keyframe glance, growth of all memory in MB."""
    from vtool.video.source import Mode, Video

    load("ours")
    before, start = resident_mb(), time.perf_counter()
    video = Video.open(path, seconds=300.0)
    count = len(video.table())
    indexed = time.perf_counter()
    want = np.linspace(20.0, video.duration_s - 20.0, 64).tolist()
    clip = video.clip(want, size=SIZE, mode=Mode.KEYFRAME)
    glanced = time.perf_counter()
    exact = video.clip(want, size=SIZE)
    rows = np.round(np.asarray([*clip.times_s, *exact.times_s]) * FPS).astype(int) % MINUTE
    shown = [*vf.numbers(clip), *vf.numbers(exact)]
    return {
        "frames": count,
        "index_s": indexed - start,
        "glance_s": glanced - indexed,
        "exact_s": time.perf_counter() - glanced,
        "wrong": sum(a != int(b) for a, b in zip(shown, rows, strict=True)),
        "grown_mb": resident_mb() - before,
    }


def resident_mb() -> float:
    """Resident size of this process and its children, in MB."""
    me = psutil.Process()
    return sum(p.memory_info().rss for p in [me, *me.children(recursive=True)]) / 1e6


def child(arguments: Sequence[str]) -> None:
    """What a fresh process does."""
    what, *rest = arguments
    if what == "import":
        load(rest[0])
        result: dict[str, Any] = {}
    else:
        result = COUNTERS[what](*rest)
    print(json.dumps(result))


COUNTERS: dict[str, Callable[..., dict[str, Any]]] = {
    "run": one_run,
    "group": group,
    "efficiency": efficiency,
    "hour": hour,
}


def middle_hour(path: Path, repeats: int) -> dict[str, float]:
    """Medians of several runs, each with a cache of its own; the most memory and wrong frames."""
    runs = []
    for i in range(repeats):
        os.environ["VTOOL_CACHE"] = str(Path(os.environ["VTOOL_CACHE"]).parent / f"hour{i}")
        runs.append(_timing.fresh_process(__file__, ["child", "hour", str(path)]))
    worst = ("wrong", "grown_mb")
    return {k: (max if k in worst else np.median)([r[k] for r in runs]) for k in runs[0]}


def available(peers: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Peers that can be imported, and why the others cannot."""
    good, reasons = [], {}
    for name in peers:
        try:
            _timing.fresh_process(__file__, ["child", "import", name])
            good.append(name)
        except RuntimeError as err:
            reasons[name] = str(err).strip().splitlines()[-1][:160]
    return good, reasons


def rows_of(
    folder: Path, peers: Sequence[str], repeats: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Each row measured: file, look, candidate; candidates taken in turn."""
    for name in ("cfr30", "cfr250", "vfr30", "vfr250"):
        for op in ("window", "glance"):
            if op == "glance" and name == "vfr250":
                continue  # Decode-bound like cfr250, at half an hour for all candidates.
            names = ["ours", *(peers if op == "window" else ("ours_keys", *peers))]
            if op == "glance" and "qwen_torchcodec" in names:
                names.remove("qwen")  # Its own order of preference puts torchcodec first.
            runs: dict[str, list[dict[str, Any]]] = {n: [] for n in names}
            for i in range(repeats[op]):
                for n in names[i % len(names) :] + names[: i % len(names)]:
                    runs[n].append(
                        _timing.fresh_process(
                            __file__, ["child", "run", n, op, str(folder / f"{name}.mp4")]
                        )
                    )
            for n, got in runs.items():
                row = {"file": name, "look": op, "candidate": n, **merged(got)}
                print(json.dumps(row), flush=True)
                yield row


def merged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median CPU and spread, median wall, largest memory, most wrong frames."""
    cpu = _timing.summary([r["cpu_s"] for r in runs])
    return {
        "cpu_s": cpu["median"],
        "q1": cpu["q1"],
        "q3": cpu["q3"],
        "n": cpu["n"],
        "wall_s": float(np.median([r["wall_s"] for r in runs])),
        "peak_mb": max(r["peak_mb"] for r in runs),
        "frames": runs[0]["frames"],
        "wrong": max(r["wrong"] for r in runs),
        "time_error_s": max(r["time_error_s"] for r in runs),
    }


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Peers' cost over ours."""
    cost = {(r["file"], r["look"], r["candidate"]): r for r in rows}
    out = {}
    for (file, look, candidate), row in cost.items():
        if candidate.startswith("ours"):
            continue
        mine = cost[file, look, "ours"]
        out[f"{file} {look} {candidate} time"] = row["cpu_s"] / mine["cpu_s"]
        out[f"{file} {look} {candidate} memory"] = row["peak_mb"] / mine["peak_mb"]
        if look == "glance":
            out[f"{file} keys {candidate} time"] = (
                row["cpu_s"] / cost[file, look, "ours_keys"]["cpu_s"]
            )
    return out


def main() -> None:
    """Measure all, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peers", nargs="*", default=[], help="folders of privately installed peers"
    )
    parser.add_argument("--files", type=Path, help="folder for the test files, kept")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([*args.peers, os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["VTOOL_CACHE"] = str(Path(scratch) / "cache")
        folder = args.files or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        make_hour(folder)
        peers, missing = available(PEERS)
        print(json.dumps({"peers": peers, "left out": missing}), flush=True)
        indexed = [timed_index(folder / f"{n}.mp4") for n in ("cfr30", "cfr250", "vfr30", "vfr250")]
        decoded = {
            n: _timing.fresh_process(__file__, ["child", "efficiency", str(folder / f"{n}.mp4")])
            for n in ("cfr30", "cfr250")
        }
        rows = list(rows_of(folder, peers, {"window": args.repeats, "glance": args.repeats}))
        an_hour = middle_hour(folder / "hour.mp4", args.repeats)
        shared = _timing.fresh_process(__file__, ["child", "group", str(folder / "cfr30.mp4")])
    wrong = [
        r
        for r in rows
        if r["candidate"].startswith("ours") and (r["wrong"] or r["time_error_s"] > 1e-9)
    ]
    sys.path += args.peers  # their versions are told too
    payload = {
        "machine": _timing.machine(
            ("av", "decord", "torchcodec", "qwen-vl-utils", "torch", "numpy")
        ),
        "targets": TARGETS,
        "left_out": missing,
        "index_s": indexed,
        "decoded_to_least": decoded,
        "rows": rows,
        "ratios": ratios(rows),
        "group": shared,
        "hour": an_hour,
    }
    path = _timing.write("video_window", payload)
    path.with_suffix(".md").write_text(_video_page.page(payload))
    print(
        json.dumps(
            {k: payload[k] for k in ("index_s", "decoded_to_least", "ratios", "group")}, indent=1
        )
    )
    assert not wrong, wrong


def timed_index(path: Path) -> float:
    """Wall seconds of the first table of times (kept for all later runs)."""
    from vtool.video.source import Video

    start = time.perf_counter()
    Video.open(path, seconds=300.0).table()
    return time.perf_counter() - start


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        main()
