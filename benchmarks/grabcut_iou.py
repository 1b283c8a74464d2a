"""GrabCut's masks against outlines that people drew, beside the bare box.

    vtool models fetch voc_photos
    OMP_NUM_THREADS=1 python benchmarks/grabcut_iou.py

Each drawn outline of the three labelled photographs of Pascal VOC gives the box that is asked
with and the true mask. The peer is the box itself, filled: a segmenter that does no better is no
segmenter. The score is GrabCut's own (how well the colours came apart); how it goes with the
overlap is told as a rank correlation, since a score that says nothing would mislead.
Writes `results/grabcut_iou.md` and `.json`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _timing
import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw
from scipy.stats import spearmanr
from vtool.vision_tools.segment import segment

from vtool.geometry import Box, Mask, mask_iou
from vtool.media import Image
from vtool.models import models


@dataclass(frozen=True)
class Outlined:
    """A thing on a photograph, as people drew it."""

    photo: str
    label: str
    image: Image
    truth: Mask
    box: Box


def outlined(folder: Path) -> list[Outlined]:
    """Every drawn outline."""
    found = []
    for path in sorted(folder.glob("*.outlines.json")):
        name = path.name.removesuffix(".outlines.json")
        image = Image.open(path.with_name(f"{name}.jpg"))
        for shape in json.loads(path.read_text(encoding="utf-8"))["shapes"]:
            if shape["shape_type"] == "polygon" and shape["label"] != "__ignore__":
                truth = _filled(shape["points"], image)
                found.append(Outlined(name, shape["label"], image, truth, truth.box()))
    return found


def _filled(points: list[list[float]], image: Image) -> Mask:
    canvas = PILImage.new("1", image.size)
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in points], fill=1)
    return Mask(np.array(canvas))


def _box_mask(thing: Outlined) -> Mask:
    width, height = thing.image.size
    cells = np.zeros((height, width), bool)
    b = thing.box
    rows = slice(round(b.y1 * height), round(b.y2 * height))
    cells[rows, round(b.x1 * width) : round(b.x2 * width)] = True
    return Mask(cells)


def main() -> None:
    """Measure and write."""
    rows = []
    for thing in outlined(models.get("voc_photos").folder):
        start = time.process_time()
        got = segment(thing.image, box=thing.box)
        seconds = time.process_time() - start
        cut = mask_iou(got.values[0], thing.truth) if got.values else 0.0
        score = got.found[0].score if got.found else 0.0
        bare = mask_iou(_box_mask(thing), thing.truth)
        # Nothing may be cut out where it was not asked for (but for the rim's rounding).
        stray = got.values[0].cells & ~_box_mask(thing).cells if got.values else np.zeros(1, bool)
        assert stray.sum() <= 0.02 * thing.truth.cells.sum() + 50
        rows.append(
            {
                "photo": thing.photo,
                "label": thing.label,
                "share": round(thing.truth.area, 3),
                "grabcut": round(cut, 3),
                "box": round(bare, 3),
                "score": round(float(score), 3),
                "cpu_s": round(seconds, 2),
            }
        )
    told = spearmanr([r["score"] for r in rows], [r["grabcut"] for r in rows]).statistic
    report = {
        "things": len(rows),
        "mean_grabcut": round(float(np.mean([r["grabcut"] for r in rows])), 3),
        "mean_box": round(float(np.mean([r["box"] for r in rows])), 3),
        "better_than_box": sum(r["grabcut"] > r["box"] for r in rows),
        "rank_correlation_of_score": round(float(told), 2),
        "rows": rows,
    }
    _timing.write("grabcut_iou", report | {"machine": _timing.machine(("numpy",))})
    _write(report)


def _write(report: dict[str, Any]) -> None:
    lines = [
        "# GrabCut against drawn outlines",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/grabcut_iou.py`; overlap (IoU) with the outline,",
        "asked with the outline's own box.",
        "",
        "| photo | thing | share of picture | GrabCut | bare box | score | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in report["rows"]:
        lines.append(
            f"| {r['photo']} | {r['label']} | {r['share']} | {r['grabcut']} | {r['box']} | "
            f"{r['score']} | {r['cpu_s']} |"
        )
    lines += [
        "",
        f"Mean overlap {report['mean_grabcut']} against {report['mean_box']} of the bare box; "
        f"better than the box in {report['better_than_box']} of {report['things']}. Rank "
        f"correlation of its own score with the overlap: {report['rank_correlation_of_score']}.",
    ]
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "results" / "grabcut_iou.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
