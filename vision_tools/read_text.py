"""The reading tool: every line of text in a picture, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.needs import Package
from vtool.tool import Finding, Observation, Settings, tool

from .backends.ocr import Line, read_lines, unit_box


@dataclass(frozen=True, slots=True)
class ReadTextSettings(Settings):
    """How text is read.

    Args:
        min_score: Lines of which the reader is less sure are left out.
        max_chars: Of all lines together; what goes beyond is cut, and said to be.
        threads: Of the models.
    """

    min_score: float = 0.5
    max_chars: int = 4000
    threads: int = 1


@tool(
    version="1",
    concurrency=1,
    isolated=True,
    needs=(
        Package("rapidocr", "vision"),
        Package("onnxruntime", "vision"),
        Package("cv2", "vision"),
    ),
)
def read_text(
    image: Image, box: Box | None = None, settings: ReadTextSettings = ReadTextSettings()
) -> Observation:
    """Read the text in a picture, line by line, with the place of each line.

    Small print in a large picture is read better when a part is named.

    Args:
        image: Picture to read.
        box: Part to read; all of it if left out.
        settings: How it is done; chosen by people.
    """
    part, at = (image, (0, 0)) if box is None else _part(image, box)
    lines = read_lines(part.pixels, threads=settings.threads, min_score=settings.min_score)
    if not lines:
        return Observation(text="no text found")
    shown, note = bounded(lines, settings.max_chars)
    found = tuple(Finding(unit_box(n.hull, image.size, at), n.text, n.score, image) for n in shown)
    if not note:
        return Observation(found=found)
    last = found[-1]
    end = Finding(last.shape, last.label, last.score, image, {"cut": note})
    return Observation(text=note, found=(*found[:-1], end))


@read_text.warm
def load(settings: ReadTextSettings) -> None:
    """Load the models before the first call's clock runs."""
    blank = np.full((32, 96, 3), 255, np.uint8)
    read_lines(blank, threads=settings.threads, min_score=settings.min_score)


def bounded(lines: Sequence[Line], most: int) -> tuple[list[Line], str]:
    """As many lines as the room holds, the first one cut if it alone is longer.

    Returns:
        The lines, and a note that is empty where nothing was left out; it stands at both ends
        of what the model is told.
    """
    total, kept, used = sum(len(n.text) for n in lines), list[Line](), 0
    if total <= most:
        return list(lines), ""
    for line in lines:
        if used + len(line.text) > most:
            break
        kept.append(line)
        used += len(line.text)
    if not kept:
        first = lines[0]
        kept, used = [Line(first.text[:most], first.score, first.quad)], most
    return kept, f"text is cut: {len(kept)} of {len(lines)} lines, {used} of {total} characters"


def _part(image: Image, box: Box) -> tuple[Image, tuple[int, int]]:
    part = image.crop(box)
    if min(part.size) < 4:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"the part is {part.size[0]}x{part.size[1]} pixels: too small to hold text",
            field="box",
        )
    width, height = image.size
    return part, (math.floor(box.x1 * width + 1e-6), math.floor(box.y1 * height + 1e-6))
