"""How much memory a thing takes: visitors share one machine, so what each keeps is bounded."""

from __future__ import annotations

from typing import Final

from vtool.geometry import Mask
from vtool.media import Clip, Image
from vtool.store import Cloud, DepthMap, Store, Value

MOST_BYTES: Final = 256 * 2**20
"""What one visitor may keep of a kind: on the bench, or of an open trace."""


def weight(value: Value) -> int:
    """Bytes of a value; videos are read from their file, tables are small."""
    if isinstance(value, Image):
        return value.pixels.nbytes
    if isinstance(value, Clip):
        return sum(f.pixels.nbytes for f in value.frames)
    if isinstance(value, Mask):
        return value.cells.nbytes
    if isinstance(value, DepthMap):
        return value.values.nbytes
    return value.points.nbytes if isinstance(value, Cloud) else 0


def held(store: Store) -> int:
    """Bytes of everything in a store."""
    return sum(weight(e.value) for e in store)
