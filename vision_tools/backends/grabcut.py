"""GrabCut: a segmenter without weights, for when there is nothing better.

It separates colours, so it fails where thing and background share them; on photographs its mask
can be worse than the box that it was given. Its score says how well the colours came apart, not
how good the mask is.

Source: Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004; OpenCV's implementation.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import require
from vtool.geometry import Box, Point, Size
from vtool.media import Image
from vtool.transform import Affine

from .prompts import Prompt, Segmented

LONGEST = 800
"""Pictures are cut at this many pixels at most; the mask is enlarged again."""
ROUNDS = 5
LEAST_BACKGROUND = 0.02
"""Share of the picture that must be taken for background before the first round."""
_LOCK = threading.Lock()


class GrabCut:
    """Cuts a thing out by the colours inside and outside of a box, or around points."""

    def segment(self, image: Image, prompt: Prompt) -> Segmented:
        """The thing in the box, or at the points."""
        if prompt.box is None:
            return self._whole(image, prompt)
        # Only what is near matters: small things keep their pixels, far colours mislead nobody.
        x0, y0, x1, y1 = around(prompt.box, image.size)
        width, height = image.size
        near = Box(x0 / width, y0 / height, x1 / width, y1 / height)
        got = self._whole(image.crop_pixels(x0, y0, x1, y1), inside(prompt, near))
        cells = np.zeros((height, width), np.bool_)
        cells[y0:y1, x0:x1] = got.cells
        return Segmented(cells, got.score)

    def _whole(self, image: Image, prompt: Prompt) -> Segmented:
        cv2 = require("cv2", "vision")
        small = _shrunk(image)
        labels = _labels(cv2, small, prompt)
        thing = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if thing.all() or not thing.any():
            # On very small pictures points may leave one side without a pixel to learn from.
            return Segmented(_enlarged(thing, image), 0.0)
        # OpenCV draws its first clusters from a generator of the process.
        with _LOCK:
            cv2.setRNGSeed(0)
            bgd, fgd = np.zeros((1, 65)), np.zeros((1, 65))
            colours = np.ascontiguousarray(small[:, :, ::-1])
            cv2.grabCut(colours, labels, None, bgd, fgd, ROUNDS, cv2.GC_INIT_WITH_MASK)
        found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        return Segmented(_enlarged(found, image), separation(cv2, small, found))


def around(box: Box, size: Size) -> tuple[int, int, int, int]:
    """A box with half of its sides added on each side, outward to whole pixels: x0, y0, x1, y1."""
    dx, dy = (box.x2 - box.x1) / 2, (box.y2 - box.y1) / 2
    width, height = size
    return (
        max(0, math.floor((box.x1 - dx) * width)),
        max(0, math.floor((box.y1 - dy) * height)),
        min(width, math.ceil((box.x2 + dx) * width)),
        min(height, math.ceil((box.y2 + dy) * height)),
    )


def inside(prompt: Prompt, near: Box) -> Prompt:
    """The same prompt in the coordinates of a part; points outside of the part say nothing."""
    move = Affine.crop(near).inverse()
    assert prompt.box is not None
    box = move.apply(prompt.box)
    assert isinstance(box, Box)
    points = [tuple(move.apply(p) for p in group) for group in (prompt.points, prompt.exclude)]
    on, off = (tuple(p for p in group if isinstance(p, Point)) for group in points)
    return Prompt(box, on, off)


def separation(cv2: Any, pixels: NDArray[np.uint8], cells: NDArray[np.bool_]) -> float:
    """How little the colours of a mask and of all else have in common, 0 (all) to 1 (nothing).

    One minus the intersection of two colour histograms (8 x 8 x 8 cells, CIE Lab).
    """
    if cells.all() or not cells.any():
        return 0.0
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    bins = (lab // 32).astype(np.int64) @ np.array([64, 8, 1])
    inside = np.bincount(bins[cells], minlength=512) / cells.sum()
    outside = np.bincount(bins[~cells], minlength=512) / (~cells).sum()
    return float(1.0 - np.minimum(inside, outside).sum())


def _shrunk(image: Image) -> NDArray[np.uint8]:
    width, height = image.size
    scale = min(1.0, LONGEST / max(width, height))
    if scale == 1.0:
        return np.array(image.pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = PILImage.fromarray(image.pixels).resize(size, PILImage.Resampling.BOX)
    return np.array(small)


def _labels(cv2: Any, pixels: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.uint8]:
    """What is known before: outside of the box nothing, at the points something."""
    height, width = pixels.shape[:2]
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    box = prompt.box_pixels((width, height))
    if box is not None:
        # Outward to whole pixels; rounding errors of unit coordinates add none.
        x1, y1 = np.floor(box[:2] + 1e-6).astype(int)
        x2, y2 = np.ceil(box[2:] - 1e-6).astype(int)
        labels[:] = cv2.GC_BGD
        labels[y1:y2, x1:x2] = cv2.GC_PR_FGD
    told = prompt.point_pixels((width, height))
    if told is not None:
        near = max(2, round(min(width, height) * 0.02))
        for (x, y), on in zip(*told, strict=True):
            if on and box is None:
                cv2.circle(labels, (int(x), int(y)), near * 8, int(cv2.GC_PR_FGD), -1)
        for (x, y), on in zip(*told, strict=True):
            kind = cv2.GC_FGD if on else cv2.GC_BGD
            cv2.circle(labels, (int(x), int(y)), near, int(kind), -1)
    return _with_some_background(cv2, labels)


def _with_some_background(cv2: Any, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A box around everything leaves no background to learn from: the border becomes it."""
    if np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).mean() < LEAST_BACKGROUND:
        edge = max(1, min(labels.shape) // 50)
        border = np.ones(labels.shape, bool)
        border[edge:-edge, edge:-edge] = False
        labels[border & (labels == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
    return labels


def _enlarged(cells: NDArray[np.bool_], image: Image) -> NDArray[np.bool_]:
    if cells.shape == image.pixels.shape[:2]:
        return cells
    grey = PILImage.fromarray(cells.astype(np.uint8) * 255)
    return np.asarray(grey.resize(image.size, PILImage.Resampling.BILINEAR)) > 127
