"""Keys and values of a batch, in one block of memory that is written in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

_GROW = 64


class KVBuffer(Cache):  # type: ignore[misc]
    """A cache whose columns are filled from left to right.

    Which columns a row may see is said by the attention mask alone, so rows may have holes.
    Unused columns are zero, never uninitialised: a masked NaN would still poison a sum.

    Args:
        data: (layers, 2, rows, heads, columns, head_dim).
        length: Columns that are in use.
    """

    def __init__(self, data: Tensor, length: int = 0) -> None:
        super().__init__(layers=[])
        self.data = data
        self.length = length

    @classmethod
    def empty(
        cls,
        shape: tuple[int, int, int],
        rows: int,
        columns: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> KVBuffer:
        """A buffer of zeros.

        Args:
            shape: (layers, key-value heads, head_dim).
            rows: Sequences.
            columns: Places for tokens.
            dtype: Of the model.
            device: Where the model is.
        """
        layers, heads, dim = shape
        size = (layers, 2, rows, heads, columns, dim)
        return cls(torch.zeros(size, dtype=dtype, device=device))

    @property
    def columns(self) -> int:
        """Places there are."""
        return int(self.data.shape[4])

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write a chunk after the used columns and give all columns up to its end.

        `length` itself moves only by `advance`, once the chunk went through all layers.
        """
        end = self.length + key_states.shape[2]
        keys, values = self.data[layer_idx, 0], self.data[layer_idx, 1]
        keys[:, :, self.length : end] = key_states
        values[:, :, self.length : end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns in use."""
        return self.length

    def advance(self, count: int) -> None:
        """Keep a chunk that was written."""
        self.length += count

    def reserve(self, columns: int) -> None:
        """Make sure that there are so many places, growing by steps."""
        if columns <= self.columns:
            return
        more = max(_GROW, self.columns // 4, columns - self.columns)
        size = [*self.data.shape]
        size[4] = more
        self.data = torch.cat((self.data, self.data.new_zeros(size)), dim=4)

    def move(self, moves: Sequence[tuple[int, int]], rows: int) -> None:
        """Copy rows over others, then keep only the first ones.

        Args:
            moves: (from, to) pairs; no row is both.
            rows: How many to keep.
        """
        if moves:
            source, target = torch.tensor(moves, device=self.data.device).unbind(1)
            used = self.data[..., : self.length, :]
            used[:, :, target] = used.index_select(2, source)
        self.data = self.data[:, :, :rows]

    def write(self, rows: Sequence[int], start: int, kv: Tensor) -> None:
        """Put the same keys and values into several rows.

        Args:
            rows: Which ones.
            start: First column.
            kv: (layers, 2, heads, n, head_dim).
        """
        end = start + kv.shape[3]
        for row in rows:
            self.data[:, :, row, :, start:end] = kv

    def read(self, row: int, start: int, end: int) -> Tensor:
        """A copy of a row's columns, (layers, 2, heads, end - start, head_dim)."""
        return self.data[:, :, row, :, start:end].clone(memory_format=torch.contiguous_format)
