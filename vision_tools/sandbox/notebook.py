"""The cells of one path of an episode, and the guest that they run in.

What a guest holds cannot be copied, but its cells can be run again: a fork does that, and is
refused where they do not say and show the same again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from vtool.errors import ForkRefused, ModelFault
from vtool.media import Image

from .pool import Pool
from .session import Cell, Kind, Result, Session


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell that was run, and the digest of what came of it."""

    cell: Cell
    digest: str


class Notebook:
    """Cells that share their names, in a guest of their own.

    Args:
        kind: The guest's kind.
        pool: Where guests come from.
        spare: How many guests shall wait there.
    """

    def __init__(self, kind: Kind, pool: Pool, spare: int = 0) -> None:
        self._kind, self._pool, self._spare = kind, pool, spare
        self._session: Session | None = None
        self._past: list[Entry] = []
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self,
        code: str,
        images: Mapping[str, Image],
        *,
        seed: int | None = None,
        seconds: float | None = None,
    ) -> Result:
        """Run the next cell; in a new guest where the last one is gone.

        Args:
            code: The cell.
            images: All pictures that it may see, by name.
            seed: Begins the generators of a new guest.
            seconds: Deadline, where it is less than the limits'.

        Raises:
            ModelFault: What the cell did to its guest.
            SandboxError: No guest could be started.
        """
        session = self._guest()
        new = {name: image for name, image in images.items() if name not in self._seen}
        cell = Cell(code, new, None if self._past else seed)
        result = session.run(cell, seconds)
        self._seen |= set(new)
        self._past.append(Entry(cell, digest(result)))
        return result

    def fork(self) -> Notebook:
        """Run the past again in a guest of its own.

        Raises:
            ForkRefused: It came out otherwise.
        """
        other = Notebook(self._kind, self._pool, self._spare)
        alive = self._session is not None and self._session.alive
        for number, entry in enumerate(self._past if alive else (), 1):
            try:
                again = digest(other._guest().run(entry.cell))
            except ModelFault as fault:
                again = str(fault)
            if again != entry.digest:
                other.close()
                raise ForkRefused(f"cell {number} gave another result when it was run again")
            other._seen |= set(entry.cell.images)
            other._past.append(entry)
        return other

    def close(self) -> None:
        """End the guest, also while a cell runs in it."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
        if session is not None:
            self._pool.give(session)

    def _guest(self) -> Session:
        with self._lock:
            if self._closed:
                raise RuntimeError("this notebook is closed")
            if self._session is None or not self._session.alive:
                self._past, self._seen = [], set()
                self._session = self._pool.take(self._kind, self._spare)
            return self._session

    def __enter__(self) -> Notebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def digest(result: Result) -> str:
    """What a cell said and showed."""
    words = [
        result.printed,
        result.error,
        *result.refused,
        *(image.digest for image in result.images),
    ]
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
