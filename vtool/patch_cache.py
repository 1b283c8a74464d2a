"""Patches of pictures, kept within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from vtool.families.base import Patches


class PatchCache:
    """Least recently used patches go first; safe under threads.

    Args:
        max_bytes: Bound on the pixel rows held.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._entries: OrderedDict[Hashable, Patches] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, make: Callable[[], Patches]) -> Patches:
        """The patches of that key, made if they are not held."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        patches = make()
        patches.data.flags.writeable = False
        with self._lock:
            self._keep(key, patches)
        return patches

    def _keep(self, key: Hashable, patches: Patches) -> None:
        if key in self._entries or patches.data.nbytes > self.max_bytes:
            return
        self._entries[key] = patches
        self.held_bytes += patches.data.nbytes
        while self.held_bytes > self.max_bytes:
            _, old = self._entries.popitem(last=False)
            self.held_bytes -= old.data.nbytes
