"""Pictures as data addresses: each encoded once, however often a page shows it."""

from __future__ import annotations

import base64
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from vtool.media import Image

KEPT: Final = 32 * 2**20
"""Bytes of encoded pictures that are kept; the one that was not shown for longest goes first."""


@dataclass(slots=True)
class Addresses:
    """What was encoded lately, by contents and size.

    Args:
        most: Bytes.
    """

    most: int = KEPT
    held: int = 0
    _kept: OrderedDict[tuple[str, int, int], str] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def of(self, image: Image, side: int, lossless: int) -> str:
        """A picture as an address.

        Args:
            image: The picture.
            side: Longest side at which it is sent; larger ones are shrunk.
            lossless: Bytes up to which it is a PNG; beyond them JPEG, where that is smaller.
        """
        key = (image.digest, side, lossless)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = encode(image, side, lossless)  # outside the lock: others need not wait for it
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.held += len(made)
            while self.held > self.most:
                self.held -= len(self._kept.popitem(last=False)[1])
        return made


def encode(image: Image, side: int, lossless: int) -> str:
    """A picture as a data address; see `Addresses.of`."""
    longest = max(image.size)
    if longest > side:
        width, height = (max(1, round(s * side / longest)) for s in image.size)
        image = image.resize((width, height))
    png = image.encode("PNG")
    jpeg = image.encode("JPEG") if len(png) > lossless else png
    kind, data = ("jpeg", jpeg) if len(jpeg) < len(png) else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


ADDRESSES: Final = Addresses()
"""Of this process."""
