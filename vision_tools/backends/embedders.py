"""Embedders: what turns pictures, and perhaps words, into vectors that lie close if alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.media import Image
from vtool.registry import Registry


class Embedder(Protocol):
    """One way to make vectors."""

    version: str
    """Changes whenever vectors do: kept ones of another version are not used."""

    def embed_image(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Vectors of pictures, float32 (N, D)."""
        ...

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Vectors of texts in the same space, float32 (N, D); None if it knows no words."""
        ...


embedders: Registry[Callable[[], Embedder]] = Registry("embedder", "vtool.embedders")
"""Makers of embedders by name. Published packages add theirs through the entry point group."""


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1, float32 (N, D); zero ones stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


class ColourGradient:
    """Layout, colours and edges of a picture: finds the same picture again, not the same thing.

    Three parts of equal weight: 8x8 luminance, a 4x4x4 colour histogram (square roots), and
    histograms of gradient directions in 4x4 cells. It needs no weights and knows no meaning:
    resized, recompressed or slightly cropped copies are near, other pictures are not.
    """

    version = "colour_gradient-1"

    def embed_image(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Vectors of pictures, float32 (N, 256)."""
        if not images:
            return np.zeros((0, 256), np.float32)
        return np.stack([self._one(i) for i in images])

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """It knows no words."""
        return None

    def _one(self, image: Image) -> NDArray[np.float32]:
        small = PILImage.fromarray(image.pixels).resize((64, 64), PILImage.Resampling.BOX)
        px = np.asarray(small, np.float32)
        grey = px @ np.array([0.299, 0.587, 0.114], np.float32)
        parts = (_layout(grey), _colours(px), _edges(grey))
        return np.concatenate([_centred(p) for p in parts]).astype(np.float32)


def _layout(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(grey.reshape(8, 8, 8, 8).mean(axis=(1, 3)).ravel(), np.float32)


def _colours(px: NDArray[np.float32]) -> NDArray[np.float32]:
    bins = np.minimum(px // 64, 3).astype(np.intp).reshape(-1, 3) @ np.array([16, 4, 1])
    return np.sqrt(np.bincount(bins, minlength=64) / len(bins)).astype(np.float32)


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    way = ((np.arctan2(down, across) % np.pi) / np.pi * 8).astype(np.intp) % 8
    rows, columns = np.indices(grey.shape) // 16
    cell = (rows * 4 + columns) * 8 + way
    return np.sqrt(np.bincount(cell.ravel(), strength.ravel(), 128)).astype(np.float32)


def _centred(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Less its mean, of length 1: two parts are then compared as by correlation."""
    part = part - part.mean()
    length = float(np.linalg.norm(part))
    return part / length if length > 1e-6 else np.zeros_like(part)


embedders.add("colour_gradient", ColourGradient)
