"""The find_changes tool: where a video is cut, and where most moves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.geometry import Span
from vtool.media import Clip
from vtool.needs import Package
from vtool.tool import Finding, Observation, Settings, tool
from vtool.video.budget import clamp, length, read_clip, seconds
from vtool.video.errors import VideoError
from vtool.video.source import Mode, Video


@dataclass(frozen=True)
class Changes(Settings):
    """What people choose.

    Args:
        max_frames: Stretches of more frames are looked at by their keyframes, so many at most.
        width: Width of the small frames that are compared.
        cut_level: Mean change of a pixel (0 to 1) from which a change may be a cut.
        cut_ratio: How many times the usual change around it a cut is.
        most: Cuts and motion peaks that are told, each.
    """

    max_frames: int = 1500
    width: int = 64
    cut_level: float = 0.08
    cut_ratio: float = 2.5
    most: int = 8


@tool(version="1", seconds=90.0, needs=(Package("av", "video"),))
def find_changes(
    video: Video,
    span: Span | None = None,
    settings: Changes = Changes(),
) -> Observation:
    """Find where a video is cut and where most of it moves.

    Args:
        video: Video to search.
        span: Stretch to search; all of it if left out.
        settings: What counts as a change, and how many are told.
    """
    whole = length(video)
    used, cut_off = clamp(span or Span(0.0, whole), whole)
    clip, coarse = _small_frames(video, used, settings)
    times = np.asarray(clip.times_s)
    change = changes(clip)
    cuts = find_cuts(change, settings)
    peaks = find_peaks(change, cuts, settings.most)
    kinds = [("cut", cuts), ("motion", peaks)]
    found = tuple(
        Finding(
            Span(float(times[i]), float(times[i + 1])),
            label,
            round(float(min(1.0, change[i])), 4),
            of=video,
        )
        for label, rows in kinds
        for i in rows
    )
    words = f"{len(cuts)} cuts, {len(peaks)} peaks of motion in {len(times)} frames"
    words += " (keyframes only: places are between two of them)" if coarse else ""
    words += f"; the video ends at {seconds(used.end_s)} s" if cut_off else ""
    return Observation(text=words, found=found, effective=(used,) if cut_off else ())


def _small_frames(video: Video, span: Span, settings: Changes) -> tuple[Clip, bool]:
    """Every frame of a short stretch; keyframes of a long one."""
    width, height = video.size
    small = (settings.width, max(8, round(settings.width * height / width)))
    try:
        times = video.frame_times(span) if video.frames_in(span) <= settings.max_frames else None
        coarse = times is None
        if times is None:
            times = thinned(video.key_times(span), settings.max_frames)
            times = times if len(times) else np.asarray([span.start_s])
    except VideoError as err:
        raise err.fault() from None
    mode = Mode.KEYFRAME if coarse else Mode.EXACT
    return read_clip(video, times.tolist(), small, mode=mode), coarse


def thinned(times: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most so many, evenly."""
    if len(times) <= most:
        return times
    return times[np.linspace(0, len(times) - 1, most).round().astype(int)]


def changes(clip: Clip) -> NDArray[np.float64]:
    """Mean absolute difference of neighbouring frames, 0 to 1: float64 (N - 1,)."""
    grey = [f.pixels.astype(np.float32).mean(axis=2) / 255.0 for f in clip.frames]
    steps = itertools.pairwise(grey)
    return np.asarray([float(np.abs(b - a).mean()) for a, b in steps], dtype=np.float64)


def find_cuts(change: NDArray[np.float64], settings: Changes) -> list[int]:
    """Changes that stand out from the ten around them, in order of time."""
    rows = []
    for i, value in enumerate(change):
        around = np.concatenate([change[max(0, i - 5) : i], change[i + 1 : i + 6]])
        usual = float(np.median(around)) if len(around) else 0.0
        if value >= settings.cut_level and value >= settings.cut_ratio * usual:
            rows.append(i)
    largest = sorted(rows, key=lambda i: -change[i])[: settings.most]
    return sorted(largest)


def find_peaks(change: NDArray[np.float64], cuts: list[int], most: int) -> list[int]:
    """Local maxima of motion above the mean by a deviation, cuts left out, in order of time."""
    calm = np.delete(change, cuts)
    if len(calm) < 3:
        return []
    level = float(calm.mean() + calm.std())
    rows = [
        i
        for i in range(1, len(change) - 1)
        if i not in cuts
        and change[i] > max(level, 1e-4)
        and change[i] >= max(change[i - 1], change[i + 1])
    ]
    return sorted(sorted(rows, key=lambda i: -change[i])[:most])
