"""A picture of one real episode, for documents: a trace's page, laid out by chromium.

python scripts/episode_picture.py runs/quickstart/eval/after docs/images/episode.png [TASK]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from vtool.demos.page import Section, render_page
from vtool.demos.steps import EpisodeView, view_record
from vtool.demos.view import find_trace, write_page

from vtool.trace import read_trace

MARGIN = 16


def main(words: list[str]) -> int:
    """Choose an episode, lay it out, cut the picture to it; the exit code."""
    if len(words) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    view = find(Path(words[0]), words[2] if len(words) == 3 else None)
    if view is None:
        print("no such episode in the trace", file=sys.stderr)
        return 1
    page = render_page("", "", [Section("", "", (view,))])
    with tempfile.TemporaryDirectory() as folder:
        shot = photograph(write_page(page, Path(folder) / "page.html"))
        cut = trim(shot)
    Path(words[1]).parent.mkdir(parents=True, exist_ok=True)
    cut.quantize(128).save(words[1], optimize=True)
    print(f"{words[1]}: {view.task_id}, {cut.width}x{cut.height}")
    return 0


def find(folder: Path, task: str | None) -> EpisodeView | None:
    """The task's episode; without a task, a right one that looked."""
    for record in read_trace(find_trace(folder), only=lambda name, _: task in (None, name)):
        view = view_record(record)
        if task is not None or (view.right and view.calls):
            return view
    return None


def photograph(page: Path) -> Image.Image:
    """Lay a page out, at two pixels a pixel."""
    browser = next(
        (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
    )
    if browser is None:
        raise SystemExit("chromium is not installed: run `make system-deps`")
    shot = page.with_suffix(".png")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    size = ["--window-size=1060,1400", "--force-device-scale-factor=1.5", "--hide-scrollbars"]
    command = [browser, *flags, *size, f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return Image.open(shot).convert("RGB")


def trim(image: Image.Image) -> Image.Image:
    """Cut the plain border away."""
    pixels = np.asarray(image).astype(int)
    differs = np.abs(pixels - pixels[0, 0]).sum(axis=2) > 12
    ys, xs = np.nonzero(differs)
    left, top = max(0, xs.min() - MARGIN), max(0, ys.min() - MARGIN)
    return image.crop((left, top, xs.max() + MARGIN, ys.max() + MARGIN))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
