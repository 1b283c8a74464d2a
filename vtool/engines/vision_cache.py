"""Features of pictures, encoded once each as long as the weights stay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

from vtool.engines.base import Picture
from vtool.families.encoding import VisionBatch
from vtool.families.vlm import VLM


class VisionCache:
    """Digest to features, within a budget; the least recently used go first.

    Args:
        max_bytes: Budget; what one batch needs at once is kept until it is done regardless.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._entries: OrderedDict[str, VisionBatch] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything: the vision tower has other weights now."""
        self._entries.clear()
        self.bytes = 0

    def encode(self, vlm: VLM, pictures: Sequence[Picture]) -> tuple[dict[str, VisionBatch], int]:
        """Features of pictures by digest, and the count of visual tokens that had to be made."""
        wanted = {p.digest: p for p in pictures}
        found = {d: self._entries[d] for d in wanted if d in self._entries}
        missing = [p for d, p in wanted.items() if d not in found]
        for digest in found:
            self._entries.move_to_end(digest)
        made = 0
        for same_grid in _by_grid(missing):
            batch = vlm.encode([p.patches for p in same_grid])
            made += len(batch.embeds)
            for number, picture in enumerate(same_grid):
                found[picture.digest] = self._keep(picture.digest, _one(batch, number))
        self._evict()
        return found, made

    def _keep(self, digest: str, entry: VisionBatch) -> VisionBatch:
        self._entries[digest] = entry
        self.bytes += _bytes(entry)
        return entry

    def _evict(self) -> None:
        while self.bytes > self.max_bytes and self._entries:
            _, entry = self._entries.popitem(last=False)
            self.bytes -= _bytes(entry)


def join(entries: Sequence[VisionBatch]) -> VisionBatch:
    """Several pictures' features as one batch, in that order."""
    sizes = [len(e.embeds) for e in entries]
    offsets = (0, *torch.tensor(sizes, dtype=torch.long).cumsum(0).tolist())
    deep = zip(*(e.deepstack for e in entries), strict=True)
    embeds = torch.cat([e.embeds for e in entries])
    return VisionBatch(embeds, tuple(torch.cat(d) for d in deep), offsets)


def _by_grid(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Pictures of one grid together: they go through the tower in one batch."""
    groups: dict[tuple[int, int, int], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.patches.grid, []).append(picture)
    return list(groups.values())


def _one(batch: VisionBatch, number: int) -> VisionBatch:
    start, end = batch.offsets[number : number + 2]
    deep = tuple(d[start:end].clone() for d in batch.deepstack)
    return VisionBatch(batch.embeds[start:end].clone(), deep, (0, end - start))


def _bytes(entry: VisionBatch) -> int:
    return sum(int(t.nbytes) for t in (entry.embeds, *entry.deepstack))
