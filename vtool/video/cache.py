"""Decoded frames by content, time and size, within a bound of bytes; shared by a whole group."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Cut: TypeAlias = tuple[int, int, int, int]
FrameKey: TypeAlias = tuple[str, str, int, int, int, Cut | None]
"""Digest of the file, reader, pts, width, height, and the part of the frame that was cut out."""
Pixels: TypeAlias = NDArray[np.uint8]

BYTES = 192 << 20


class FrameCache:
    """Least recently used frames go first.

    Args:
        limit: Bytes of pixels that are kept at most.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._frames: OrderedDict[FrameKey, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Those of the frames that are here."""
        found: dict[FrameKey, Pixels] = {}
        with self._lock:
            for key in keys:
                if key in self._frames:
                    self._frames.move_to_end(key)
                    found[key] = self._frames[key]
            self.hits += len(found)
            self.misses += len(keys) - len(found)
        return found

    def put(self, frames: Mapping[FrameKey, Pixels]) -> None:
        """Keep frames; those larger than the whole cache are not kept."""
        with self._lock:
            for key, pixels in frames.items():
                if key not in self._frames and pixels.nbytes <= self.limit:
                    self._frames[key] = pixels
                    self.bytes += pixels.nbytes
            while self.bytes > self.limit:
                self.bytes -= self._frames.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._frames.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._frames)


FRAMES = FrameCache()
"""The cache of this process."""
