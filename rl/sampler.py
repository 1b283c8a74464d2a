"""Which tasks come next: a seeded permutation per epoch, with a cursor that can be saved."""

from __future__ import annotations

import numpy as np

from vtool.errors import DataError


class Sampler:
    """Indices into a task file, each once an epoch.

    Args:
        count: Tasks there are.
        seed: Of the order.
        cursor: Tasks drawn so far.
    """

    def __init__(self, count: int, seed: int, cursor: int = 0) -> None:
        if count < 1:
            raise DataError("there are no tasks to learn from")
        self.count, self.seed, self.cursor = count, seed, cursor
        self._epoch = -1
        self._now: list[int] = []

    def draw(self, number: int) -> list[int]:
        """The next indices."""
        out = []
        for _ in range(number):
            epoch, at = divmod(self.cursor, self.count)
            out.append(self._order(epoch)[at])
            self.cursor += 1
        return out

    def _order(self, epoch: int) -> list[int]:
        """The permutation of an epoch, a function of seed and epoch; the latest is kept."""
        if epoch != self._epoch:
            rng = np.random.Generator(np.random.Philox(key=(self.seed, epoch)))
            self._epoch, self._now = epoch, rng.permutation(self.count).tolist()
        return self._now
