"""The detect tool on three labelled photographs of Pascal VOC: what is found, what is made up.

    vtool models fetch nanodet && vtool models fetch voc_photos
    OMP_NUM_THREADS=1 python benchmarks/detect_voc.py

Nine boxes drawn by people (six persons, two buses, a car). A finding counts where it covers a
drawn box of its kind with an overlap (IoU) of at least 0.5; each drawn box is found once, the
surest first; what is left over is a false finding. Only the kinds that were drawn are asked for.
Three photographs are no benchmark: this shows that the route from package to boxes is right.
Writes `results/detect_voc.md` and `.json`. Rows:

- `detect` at several thresholds, 0.35 being its default;
- `stretched`: the picture pulled to a square instead of laid into one;
- `red first`: the colours in the other order;
- `whole picture`: each kind that is drawn, claimed once for all of the picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _timing
import numpy as np
from PIL import Image as PILImage
from skimage import data
from vtool.vision_tools.backends import nanodet
from vtool.vision_tools.detect import detect

from vtool.geometry import Box
from vtool.media import Image
from vtool.models import models
from vtool.tool import Finding

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import voc

KINDS = ["person", "bus", "car"]
PHOTOS = {
    "astronaut": "person",
    "chelsea": "cat",
    "coffee": "cup",
    "rocket": "nothing",
    "stereo_motorcycle": "motorcycle",
}
"""Photographs of scikit-image, and what is on them."""

Find = Callable[[voc.Labelled], list[Finding]]


def at(threshold: float) -> Find:
    """The tool at a threshold."""
    chosen = detect.set(threshold=threshold)
    return lambda photo: list(chosen(photo.image, KINDS).found)


@contextmanager
def seen_through(letterbox: Callable[..., Any]) -> Iterator[None]:
    """Another way from a picture to the network."""
    usual, nanodet.letterbox = nanodet.letterbox, letterbox
    try:
        yield
    finally:
        nanodet.letterbox = usual


def stretched(pixels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture pulled to a square."""
    square = PILImage.fromarray(pixels).resize((nanodet.SIDE, nanodet.SIDE))
    planes = (np.asarray(square)[:, :, ::-1] - nanodet.MEAN) / nanodet.DEVIATION
    return planes.transpose(2, 0, 1)[None].astype(np.float32), (nanodet.SIDE, nanodet.SIDE)


def whole_picture(photo: voc.Labelled) -> list[Finding]:
    """Each drawn kind, once, everywhere."""
    return [Finding(Box(0, 0, 1, 1), kind, 1.0) for kind in {label for label, _ in photo.drawn}]


def judge(photos: list[voc.Labelled], find: Find) -> dict[str, Any]:
    """Recall, false findings and mean overlap."""
    overlaps, spare = [], 0
    for photo in photos:
        more, left = voc.match(photo.drawn, find(photo))
        overlaps += more
        spare += len(left)
    found = [o for o in overlaps if o]
    return {
        "drawn": len(overlaps),
        "found": len(found),
        "found_at_75": sum(o >= 0.75 for o in found),
        "false": spare,
        "overlap": float(np.mean(found)) if found else 0.0,
    }


def rows(photos: list[voc.Labelled]) -> dict[str, dict[str, Any]]:
    """Every row of the table."""
    made = {f"detect, {t}": judge(photos, at(t)) for t in (0.25, 0.3, 0.35, 0.4, 0.5)}
    usual = nanodet.letterbox
    with seen_through(stretched):
        made["stretched, 0.35"] = judge(photos, at(0.35))
    with seen_through(lambda pixels: usual(pixels[:, :, ::-1])):
        made["red first, 0.35"] = judge(photos, at(0.35))
    made["whole picture"] = judge(photos, whole_picture)
    return made


def elsewhere() -> dict[str, list[str]]:
    """All kinds found on scikit-image's photographs at the default threshold."""
    told = {}
    for name in PHOTOS:
        made = getattr(data, name)()
        pixels = np.ascontiguousarray(made[0] if isinstance(made, tuple) else made)
        told[name] = [f"{f.label} {f.score:.2f}" for f in detect(Image(pixels)).found]
    return told


def main() -> None:
    """Measure, and write both files."""
    photos = voc.photographs(models.get("voc_photos").folder)
    made, photographs = rows(photos), elsewhere()
    times = _timing.interleave({p.name: lambda p=p: detect(p.image) for p in photos}, repeats=15)
    cost = _timing.summary([t for values in times.values() for t in values])
    about = _timing.machine(("onnxruntime", "numpy", "pillow"))
    payload = {"rows": made, "photographs": photographs, "cpu_seconds": cost, "machine": about}
    _timing.write("detect_voc", payload)
    (_timing.RESULTS / "detect_voc.md").write_text(page(made, photographs, cost, about))


def page(
    made: dict[str, Any], photographs: dict[str, Any], cost: dict[str, float], about: dict[str, Any]
) -> str:
    """The tables, for people."""
    lines = [
        "# Detection on labelled photographs",
        "",
        "Made by `OMP_NUM_THREADS=1 python benchmarks/detect_voc.py`, whose head says what counts. "
        "Three photographs of Pascal VOC 2011 with nine boxes drawn by people; kinds asked for: "
        f"{', '.join(KINDS)}. No number was chosen on these photographs.",
        "",
        "| method | found (IoU 0.5) | found (IoU 0.75) | false findings | mean overlap |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r['found']}/{r['drawn']} | {r['found_at_75']}/{r['drawn']} | {r['false']} "
        f"| {r['overlap']:.2f} |"
        for name, r in made.items()
    ]
    lines += ["", "All kinds on scikit-image's photographs, at the default threshold:", ""]
    lines += ["| photograph | what is on it | found |", "|---|---|---|"]
    lines += [
        f"| {name} | {PHOTOS[name]} | {', '.join(told) or 'nothing'} |"
        for name, told in photographs.items()
    ]
    lines += [
        "",
        f"One call costs {cost['median'] * 1000:.0f} CPU ms (quartiles {cost['q1'] * 1000:.0f} to "
        f"{cost['q3'] * 1000:.0f}, {cost['n']} calls).",
        "",
        f"Machine: {about['cpu']}, one thread; {about['packages']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
