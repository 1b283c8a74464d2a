"""GrabCut's masks against outlines that people drew, beside the bare box and plain OpenCV.

    vtool models fetch voc_photos
    OMP_NUM_THREADS=1 python benchmarks/grabcut_iou.py

Each thing outlined on the three labelled photographs of Pascal VOC (parts that people grouped are
one thing, regions marked to be ignored are none) gives the true mask, and its smallest box is
what the tool is asked with. Peers: the box itself, filled, since a segmenter that does no better
is none; and OpenCV's own start from a rectangle, which learns from the whole photograph. The score
is the tool's own (how well the colours came apart); how it goes with the overlap is told as a rank
correlation, since a score that says nothing would mislead.
Writes `results/grabcut_iou.md` and `.json`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _timing
import cv2
import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw
from scipy.stats import spearmanr
from vtool.vision_tools.backends.grabcut import ROUNDS
from vtool.vision_tools.segment import segment

from vtool.geometry import Box, Mask, mask_iou
from vtool.media import Image
from vtool.models import models

METHODS = ("grabcut", "plain", "box")


@dataclass(frozen=True)
class Outlined:
    """A thing on a photograph, as people drew it."""

    photo: str
    label: str
    image: Image
    truth: Mask

    @property
    def box(self) -> Box:
        """The smallest around it."""
        return self.truth.box()

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """The box in whole pixels: x, y, width, height."""
        (width, height), b = self.image.size, self.box
        x, y = round(b.x1 * width), round(b.y1 * height)
        return x, y, round(b.x2 * width) - x, round(b.y2 * height) - y


def outlined(folder: Path) -> Iterator[Outlined]:
    """Every thing that people outlined."""
    for path in sorted(folder.glob("*.outlines.json")):
        name = path.name.removesuffix(".outlines.json")
        image = Image.open(path.with_name(f"{name}.jpg"))
        things: dict[tuple[str, int], list[Any]] = {}
        for at, shape in enumerate(json.loads(path.read_text(encoding="utf-8"))["shapes"]):
            assert shape["shape_type"] == "polygon"
            if shape["label"] != "__ignore__":
                group = -1 - at if shape["group_id"] is None else shape["group_id"]
                things.setdefault((shape["label"], group), []).append(shape["points"])
        for (label, _), polygons in things.items():
            yield Outlined(name, label, image, filled(polygons, image))


def filled(polygons: list[list[list[float]]], image: Image) -> Mask:
    """The pixels inside of any of them."""
    canvas = PILImage.new("1", image.size)
    for points in polygons:
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in points], fill=1)
    return Mask(np.array(canvas))


def bare(thing: Outlined) -> Mask:
    """The box, filled."""
    x, y, width, height = thing.sides
    cells = np.zeros_like(thing.truth.cells)
    cells[y : y + height, x : x + width] = True
    return Mask(cells)


def plain(thing: Outlined) -> Mask:
    """OpenCV's GrabCut from a rectangle on the whole photograph."""
    labels = np.zeros(thing.truth.cells.shape, np.uint8)
    cv2.setRNGSeed(0)
    colours = np.ascontiguousarray(thing.image.pixels[:, :, ::-1])
    models_ = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(colours, labels, thing.sides, *models_, ROUNDS, cv2.GC_INIT_WITH_RECT)
    return Mask((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def measure(thing: Outlined) -> dict[str, Any]:
    """One row."""
    start = time.process_time()
    got = segment(thing.image, box=thing.box)
    seconds = time.process_time() - start
    cut = got.values[0] if got.values else Mask(np.zeros_like(thing.truth.cells))
    assert not (cut.cells & ~bare(thing).cells).any(), "cut out where it was not asked for"
    overlaps = {"grabcut": cut, "plain": plain(thing), "box": bare(thing)}
    return {
        "photo": thing.photo,
        "label": thing.label,
        "share": round(thing.truth.area, 3),
        **{name: round(mask_iou(mask, thing.truth), 3) for name, mask in overlaps.items()},
        "score": round(got.found[0].score or 0.0, 3) if got.found else 0.0,
        "cpu_s": round(seconds, 2),
    }


def main() -> None:
    """Measure and write."""
    rows = [measure(thing) for thing in outlined(models.get("voc_photos").folder)]
    told = spearmanr([r["score"] for r in rows], [r["grabcut"] for r in rows]).statistic
    report = {
        "things": len(rows),
        "mean": {m: round(float(np.mean([r[m] for r in rows])), 3) for m in METHODS},
        "better_than_box": sum(r["grabcut"] > r["box"] for r in rows),
        "rank_correlation_of_score": round(float(told), 2),
        "rows": rows,
        "machine": _timing.machine(("numpy", "opencv-python-headless")),
    }
    _timing.write("grabcut_iou", report)
    (_timing.RESULTS / "grabcut_iou.md").write_text(page(report), encoding="utf-8")


def page(report: dict[str, Any]) -> str:
    """The table, for people."""
    lines = [
        "# GrabCut against drawn outlines",
        "",
        "Made by `OMP_NUM_THREADS=1 python benchmarks/grabcut_iou.py`, whose head says what "
        "counts. Overlap (IoU) with the outline, asked with the outline's own box. `plain` is "
        "OpenCV's GrabCut from the same rectangle on the whole photograph.",
        "",
        "| photo | thing | share of picture | segment | plain | bare box | score | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['photo']} | {r['label']} | {r['share']:.3f} | {r['grabcut']:.2f} | "
        f"{r['plain']:.2f} | {r['box']:.2f} | {r['score']:.2f} | {r['cpu_s']:.2f} |"
        for r in report["rows"]
    ]
    mean = report["mean"]
    lines += [
        "",
        f"Mean overlap {mean['grabcut']:.2f}, plain {mean['plain']:.2f}, bare box "
        f"{mean['box']:.2f}; better than the bare box in {report['better_than_box']} of "
        f"{report['things']}. Rank correlation of the tool's own score with the overlap: "
        f"{report['rank_correlation_of_score']:.2f}.",
        "",
        f"Machine: {report['machine']['cpu']}, one thread; {report['machine']['packages']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
