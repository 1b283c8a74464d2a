"""Sample calls of the tools that look into videos: one small file for all of them."""

import functools
import os
import tempfile
from pathlib import Path

import video_files as vf

from vtool.store import Store
from vtool.video.source import Video


@functools.lru_cache(maxsize=1)
def film():
    """Two seconds with some words beside them; its folder lives as long as the process."""
    folder = tempfile.TemporaryDirectory()
    os.environ.setdefault("VTOOL_CACHE", str(Path(folder.name) / "cache"))
    path = vf.write(Path(folder.name) / "film.mp4", vf.constant(50), size=(160, 120), b_frames=2)
    path.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nHello\n")
    return folder, Video.open(path)


def look(**arguments):
    def make():
        store = Store()
        store.add(film()[1])
        return store, {"video": "$video_1", **arguments}

    return make


SAMPLES = {
    "crop_video": look(span=[0.5, 1.5], box=[200, 250, 800, 750], count=3),
    "find_changes": look(span=[0.0, 1.0]),
    "glance": look(),
    "read_subtitles": look(span=[0.0, 1.0]),
    "resample": look(span=[0.5, 1.5], count=3),
    "select_frames": look(times=[0.2, 1.0]),
}
