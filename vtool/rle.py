"""Run-length encoding of masks as COCO writes it: column by column, background first.

The compressed form packs each count, as its difference to the one two before it (from the third
on), into characters of six bits: five of the number, the sixth says that more follow.

Source: the mask API of the COCO tools (`maskApi.c`: `rleToString`, `rleFrString`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vtool.errors import GeometryError
from vtool.geometry import Mask
from vtool.media import MAX_PIXELS
from vtool.message import Json

_FIRST = 48
"""The character of 0."""


def encode_mask(mask: Mask, *, compressed: bool = True) -> dict[str, Json]:
    """A mask as `{"size": [height, width], "counts": ...}`.

    Args:
        mask: Cells (H, W).
        compressed: Whether counts become a string, as in COCO's result files, or stay a list.
    """
    counts = run_lengths(mask)
    height, width = mask.cells.shape
    size: Json = [height, width]
    return {"size": size, "counts": pack_counts(counts) if compressed else list(counts)}


def decode_mask(body: Mapping[str, Json]) -> Mask:
    """A mask from either form.

    Raises:
        GeometryError: Sizes or counts are missing, negative, or do not fill the grid, or the grid
            is larger than any picture may be.
    """
    size, raw = body.get("size"), body.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(_is_count(s) for s in size):
        raise GeometryError(f"an encoded mask needs size [height, width], got {size!r}")
    height, width = int(size[0]), int(size[1])  # type: ignore[arg-type]
    if height * width > MAX_PIXELS:
        raise GeometryError(f"an encoded mask is {width}x{height}, at most {MAX_PIXELS} cells")
    if isinstance(raw, str):
        counts = unpack_counts(raw)
    elif isinstance(raw, list) and all(_is_count(c) for c in raw):
        counts = [int(c) for c in raw]  # type: ignore[arg-type]
    else:
        raise GeometryError("an encoded mask needs counts, a string or a list of whole numbers")
    if height * width != sum(counts) or min(counts, default=0) < 0:
        raise GeometryError(
            f"the runs of an encoded mask cover {sum(counts)} cells, expected {height}x{width}"
        )
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return Mask(np.ascontiguousarray(flat.reshape(width, height).T))


def run_lengths(mask: Mask) -> list[int]:
    """Lengths of runs, column by column; the first is of unset cells and may be 0."""
    flat = mask.cells.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    lengths = np.diff(bounds).tolist()
    return [0, *lengths] if flat[0] else lengths


def pack_counts(counts: Sequence[int]) -> str:
    """Counts as a string."""
    return "".join(_pack(count - (counts[i - 2] if i > 2 else 0)) for i, count in enumerate(counts))


def unpack_counts(text: str) -> list[int]:
    """Counts from a string.

    Raises:
        GeometryError: A character that the code does not have, or a number that does not end.
    """
    counts: list[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - _FIRST
        if not 0 <= bits < 64 or shift > 60:
            raise GeometryError(f"the counts of an encoded mask hold {char!r}, which means nothing")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise GeometryError("the counts of an encoded mask end within a number")
    return counts


def _pack(number: int) -> str:
    out = []
    while True:
        bits = number & 31
        number >>= 5
        more = number != (-1 if bits & 16 else 0)
        out.append(chr(_FIRST + (bits | 32 if more else bits)))
        if not more:
            return "".join(out)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
