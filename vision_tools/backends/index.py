"""An index over a user's folder: by words (BM25) and by likeness (cosine of embeddings)."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import MediaError, VToolError, nearest, require
from vtool.media import Image
from vtool.needs import Lack, LackKind, Package
from vtool.picture_file import read_bytes

from .bm25 import BM25, words
from .embedders import Embedder, embedders, normalised
from .library import Document, read_folder

RRF = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Folder:
    """The need of a folder that people name in a tool's settings.

    Args:
        tool: The tool's name, for the line that mends it.
    """

    tool: str

    def lack(self, settings: object) -> Lack | None:
        """Missing where no folder is named, it is not there, or its embedder is unknown."""
        given = getattr(settings, "folder", None)
        if not given or not Path(given).expanduser().is_dir():
            what = f"folder: {given} is no folder" if given else "folder is not set"
            fix = f"set folder to one with pictures and texts: {self.tool}.folder=./knowledge"
            return Lack(LackKind.SETTING, what, fix)
        chosen = getattr(settings, "embedder", None)
        if chosen is not None and chosen not in embedders:
            names = ", ".join(embedders)
            what = f"embedder {chosen!r} is not known{nearest(chosen, embedders)}"
            return Lack(LackKind.SETTING, what, f"set {self.tool}.embedder to one of: {names}")
        if getattr(settings, "keep", None):
            return Package("safetensors", "train").lack(settings)
        return None


@dataclass(frozen=True, slots=True)
class Match:
    """Something found, and how well it fits (a rank's worth where several orders are joined)."""

    document: Document
    score: float


class Index:
    """Documents of a folder, ready to be searched.

    Args:
        root: The folder.
        embedder: Name of a registered embedder.
        keep: Folder where vectors are kept between runs; None keeps them in memory alone.
    """

    def __init__(self, root: Path, embedder: str, keep: Path | None = None) -> None:
        self.root = root
        reading = read_folder(root)
        self.documents, self.left_out = reading.documents, reading.left_out
        self._bm25 = BM25([words(d.text) for d in self.documents])
        self._embedder = embedders.get(embedder)()
        self._name = embedder
        self._keep = keep
        self._lock = threading.Lock()
        self._vectors: NDArray[np.float32] | None = None
        self._pictured: list[int] = []

    def find(self, query: str, image: Image | None, k: int) -> list[Match]:
        """The documents that fit best.

        Args:
            query: Words; empty for none.
            image: A picture to which pictures of the folder are compared; None for none.
            k: At most so many.
        """
        orders = []
        if query:
            orders.append(_positive(self._bm25.scores(words(query))))
            asked = self._embedder.embed_text([query])
            if asked is not None:
                orders.append(self._by_likeness(asked))
        if image is not None:
            orders.append(self._by_likeness(self._embedder.embed_image([image])))
        best = joined(orders) if len(orders) > 1 else orders[0] if orders else []
        return [Match(self.documents[i], score) for i, score in best[:k]]

    def picture(self, document: Document) -> Image | None:
        """A picture of the folder, decoded; None if it can no longer be."""
        try:
            return Image.decode(read_bytes(document.name, self.root))
        except MediaError:
            return None

    def _by_likeness(self, asked: NDArray[np.float32]) -> list[tuple[int, float]]:
        with self._lock:
            if self._vectors is None:
                self._pictured, self._vectors = self._embed()
        if not len(self._vectors):
            return []
        alike = self._vectors @ normalised(np.asarray(asked, np.float32))[0]
        order = np.argsort(-alike, kind="stable")
        return [(self._pictured[i], float(alike[i])) for i in order]

    def _embed(self) -> tuple[list[int], NDArray[np.float32]]:
        """Vectors of all pictures that can be decoded; kept ones are used again."""
        kept = load_vectors(self._keep, self._name, self._embedder)
        at: list[int] = []
        digests: list[str] = []
        for i, document in enumerate(self.documents):
            if not document.picture:
                continue
            try:
                data = read_bytes(document.name, self.root)
                digest = hashlib.sha256(data).hexdigest()
                if digest not in kept:
                    kept[digest] = self._embedder.embed_image([Image.decode(data)])[0]
            except MediaError:
                self.left_out.append(document.name)
                continue
            at.append(i)
            digests.append(digest)
        used = {d: kept[d] for d in digests}
        save_vectors(self._keep, self._name, self._embedder, used)
        return at, normalised(np.stack([kept[d] for d in digests])) if at else np.zeros(
            (0, 1), "f4"
        )


def open_index(folder: str, embedder: str, keep: str | None = None) -> Index:
    """The index of a folder, built once a process: a run sees the folder as it was first read."""
    with _LOCK:
        return _build(Path(folder).expanduser().resolve(), embedder, keep)


@lru_cache(maxsize=8)
def _build(root: Path, embedder: str, keep: str | None) -> Index:
    return Index(root, embedder, Path(keep).expanduser() if keep else None)


def joined(orders: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Several orders as one, by reciprocal rank fusion; ties in order of the documents."""
    total: dict[int, float] = {}
    for order in orders:
        for rank, (i, _) in enumerate(order, 1):
            total[i] = total.get(i, 0.0) + 1 / (RRF + rank)
    return sorted(total.items(), key=lambda t: (-t[1], t[0]))


def _positive(scores: NDArray[np.float64]) -> list[tuple[int, float]]:
    order = np.argsort(-scores, kind="stable")
    return [(int(i), float(scores[i])) for i in order if scores[i] > 0]


def load_vectors(
    keep: Path | None, name: str, embedder: Embedder
) -> dict[str, NDArray[np.float32]]:
    """Kept vectors by the digest of the file that they are of; none of another version."""
    if keep is None or not _file(keep, name).exists():
        return {}
    safetensors: Any = require("safetensors", "train")
    try:
        with safetensors.safe_open(str(_file(keep, name)), framework="np") as file:
            told = json.loads((file.metadata() or {}).get("index", "{}"))
            vectors = file.get_tensor("vectors")
    except (OSError, ValueError, safetensors.SafetensorError):
        # A torn file is made anew: everything in it follows from the folder.
        return {}
    if told.get("version") != embedder.version or len(told["digests"]) != len(vectors):
        return {}
    return dict(zip(told["digests"], vectors, strict=True))


def save_vectors(
    keep: Path | None, name: str, embedder: Embedder, vectors: dict[str, NDArray[np.float32]]
) -> None:
    """Keep vectors, whole or not at all."""
    if keep is None or not vectors:
        return
    numpy_file: Any = require("safetensors.numpy", "train")
    keep.mkdir(parents=True, exist_ok=True)
    told = {"version": embedder.version, "digests": list(vectors)}
    part = _file(keep, name).with_suffix(f".{os.getpid()}.part")
    stacked = np.stack([np.asarray(v, np.float32) for v in vectors.values()])
    numpy_file.save_file({"vectors": stacked}, str(part), metadata={"index": json.dumps(told)})
    os.replace(part, _file(keep, name))


def _file(keep: Path, name: str) -> Path:
    if not name.replace("_", "").replace("-", "").isalnum():
        raise VToolError(f"embedder {name!r}: a name of letters, digits, - and _ can be kept")
    return keep / f"{name}.safetensors"
