"""What the renderer asks of a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Codec(Protocol):
    """Text to ids and back; control tokens come from templates only."""

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids that `encode` never gives."""
        ...

    def token_id(self, token: str) -> int:
        """Id of a control token.

        Raises:
            CheckpointError: It is no single token here.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary words, whatever they spell."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """Bytes of each token; joined, those of the whole."""
        ...
