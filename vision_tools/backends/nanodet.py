"""NanoDet on onnxruntime: eighty kinds of things, 416 pixels, some fifty milliseconds a picture."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import require
from vtool.geometry import Size
from vtool.media import Image

from .coco80 import LABELS
from .detection import Detection, suppress, unit_box

SIDE = 416
STRIDES = (8, 16, 32)
BINS = 11
"""Each side of a box is a distribution over 0 to 10 strides."""
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
"""Of blue, green and red."""
DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)

Floats = NDArray[np.float32]


def letterbox(pixels: NDArray[np.uint8]) -> tuple[Floats, Size]:
    """A picture as the network wants it: its long side 416, in the top left corner, rest zero.

    Args:
        pixels: RGB (H, W, 3).

    Returns:
        Normalised BGR (1, 3, 416, 416), and the size that the picture has on it.
    """
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(PILImage.fromarray(pixels).resize(size, PILImage.Resampling.BILINEAR))
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    canvas[: size[1], : size[0]] = (small[:, :, ::-1] - MEAN) / DEVIATION
    return canvas.transpose(2, 0, 1)[None], size


def decode(sides: Floats, stride: int) -> Floats:
    """Boxes of one level.

    Args:
        sides: Logits (cells, 4 * 11) over the distances to left, top, right and bottom.
        stride: Pixels between two cells.

    Returns:
        (cells, 4) as x1, y1, x2, y2 in pixels of the 416 canvas.

    Source: Li et al., Generalized Focal Loss, 2020, eq. 4 (expectation of a distribution).
    """
    logits = sides.reshape(-1, 4, BINS)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    away = (weights @ np.arange(BINS, dtype=np.float32)) * stride
    rows, columns = np.divmod(np.arange(len(logits)), SIDE // stride)
    centres = (np.stack([columns, rows], axis=1) + 0.5) * stride
    return np.concatenate([centres - away[:, :2], centres + away[:, 2:]], axis=1)


@dataclass(frozen=True, slots=True)
class NanoDet:
    """The network, loaded."""

    session: Any

    def raw(self, image: Image) -> tuple[Floats, Floats, Size]:
        """Boxes (3549, 4) on the canvas, scores (3549, 80), and the picture's size on it."""
        tensor, size = letterbox(image.pixels)
        name = self.session.get_inputs()[0].name
        by_shape = {value.shape[1:]: value[0] for value in self.session.run(None, {name: tensor})}
        boxes, scores = [], []
        for stride in STRIDES:
            cells = (SIDE // stride) ** 2
            boxes.append(decode(by_shape[cells, 4 * BINS], stride))
            scores.append(by_shape[cells, len(LABELS)])
        return np.concatenate(boxes), np.concatenate(scores), size

    def find(
        self, image: Image, *, threshold: float, overlap: float, only: Collection[str] = LABELS
    ) -> list[Detection]:
        """What it sees.

        Args:
            image: Where to look.
            threshold: Least score.
            overlap: Of two boxes of one kind that share more than this, the surer one stays.
            only: The kinds asked for.
        """
        boxes, scores, (width, height) = self.raw(image)
        found = []
        for kind, label in enumerate(LABELS):
            (rows,) = np.nonzero(scores[:, kind] >= threshold)
            if label not in only or not rows.size:
                continue
            for row in rows[suppress(boxes[rows], scores[rows, kind], overlap)]:
                box = unit_box(boxes[row], width, height)
                if box is not None:
                    found.append(Detection(box, label, float(scores[row, kind])))
        return found


def open_file(path: Path, threads: int) -> NanoDet:
    """The network from an ONNX file."""
    ort = require("onnxruntime", "vision")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads that spin would take the processor from everybody else's work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return NanoDet(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))


_LOCK = threading.Lock()
_opened = lru_cache(maxsize=2)(open_file)


def load(path: Path, threads: int) -> NanoDet:
    """The same, opened once; it may be used by several threads at once."""
    with _LOCK:
        return _opened(path, threads)
