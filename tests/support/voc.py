"""The three labelled photographs of Pascal VOC, and the matching of findings to drawn boxes."""

import json
from dataclasses import dataclass

from vtool.geometry import Box, iou
from vtool.media import Image


@dataclass(frozen=True)
class Labelled:
    """A photograph and what people drew on it: (label, box)."""

    name: str
    image: Image
    drawn: tuple[tuple[str, Box], ...]


def photographs(folder):
    """All labelled photographs of `voc_photos`."""
    return [_read(path) for path in sorted(folder.glob("*.boxes.json"))]


def _read(path):
    name = path.name.removesuffix(".boxes.json")
    body = json.loads(path.read_text())
    image = Image.open(path.with_name(f"{name}.jpg"))
    assert image.size == (body["imageWidth"], body["imageHeight"])
    assert all(s["shape_type"] == "rectangle" for s in body["shapes"])
    return Labelled(name, image, tuple((s["label"], _box(s, image)) for s in body["shapes"]))


def _box(shape, image):
    (ax, ay), (bx, by) = shape["points"]
    width, height = image.size
    x1, x2 = (min(max(v / width, 0.0), 1.0) for v in sorted((ax, bx)))
    y1, y2 = (min(max(v / height, 0.0), 1.0) for v in sorted((ay, by)))
    return Box(x1, y1, x2, y2)


def match(drawn, found, least=0.5):
    """Each finding, the surest first, takes the drawn box of its label that it covers best.

    Returns:
        For each drawn box the overlap of its finding (0 where none), and the findings left over.
    """
    overlaps, spare = [0.0] * len(drawn), []
    for finding in sorted(found, key=lambda f: -f.score):
        free = [
            (iou(box, finding.shape), i)
            for i, (label, box) in enumerate(drawn)
            if label == finding.label and not overlaps[i]
        ]
        best, at = max(free, default=(0.0, -1))
        if best >= least:
            overlaps[at] = best
        else:
            spare.append(finding)
    return overlaps, spare
