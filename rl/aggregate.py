"""From one number per token to one number per batch, exact over micro-batches.

A loss here is a weighted sum over tokens, and the weights depend only on counts that are known
before the first forward pass. So `Denominators` are taken once over the whole batch, and the
micro-batches simply add up, even where one sequence is spread over several of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vtool.errors import VToolError


class AggregateError(VToolError, ValueError):
    """Counts that contradict the aggregation asked for."""


class Mode(StrEnum):
    """How tokens and sequences are weighted against one another."""

    TOKEN_MEAN = "token-mean"
    """Sum over all tokens / count of tokens. Source: DAPO (arXiv 2503.14476) eq. 8. Trap: long
    sequences weigh more."""
    SEQ_MEAN_TOKEN_SUM = "seq-mean-token-sum"
    """Sum inside a sequence, mean over sequences. Source: Dr.GRPO (arXiv 2503.20783) without its
    constant. Trap: its size grows with the length of sequences, and so does the step."""
    SEQ_MEAN_TOKEN_MEAN = "seq-mean-token-mean"
    """Mean inside a sequence, mean over sequences. Source: GRPO (arXiv 2402.03300) eq. 3, GSPO.
    Trap: a token of a long sequence counts less; a sequence without any token that may be learnt
    must leave the mean, not count as 0."""
    SEQ_MEAN_TOKEN_SUM_NORM = "seq-mean-token-sum-norm"
    """Sum inside a sequence / constant length. Source: Dr.GRPO (arXiv 2503.20783) section 3.2.
    Trap: sequences are *summed* unless `average_sequences` is set, as in the released code, so the
    value grows with the batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Denominators:
    """What the losses of a whole batch are divided by.

    Args:
        mode: The weighting.
        counts: (S,) policy tokens of each sequence over the whole batch; a sequence of 0 tokens
            (fully masked) leaves the mean, numerator and denominator.
        length: Constant divisor in tokens, for the sum-norm mode only.
        average_sequences: Whether the sum-norm mode also divides by the count of sequences.

    Raises:
        AggregateError: A negative count, or a length that is missing or not asked for.
    """

    mode: Mode
    counts: NDArray[np.int64]
    length: float | None = None
    average_sequences: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", Mode(self.mode))
        object.__setattr__(self, "counts", np.asarray(self.counts, np.int64))
        if self.counts.ndim != 1 or (self.counts < 0).any():
            raise AggregateError("expected one token count per sequence, none below 0")
        wanted = self.mode is Mode.SEQ_MEAN_TOKEN_SUM_NORM
        if wanted is not (self.length is not None) or (wanted and not self.length > 0):
            raise AggregateError(
                f"mode {self.mode} with length {self.length}: give a length above 0 to "
                f"{Mode.SEQ_MEAN_TOKEN_SUM_NORM} and to no other mode"
            )

    @classmethod
    def of(
        cls,
        mode: Mode | str,
        sequence: ArrayLike,
        *,
        length: float | None = None,
        average_sequences: bool = False,
    ) -> Denominators:
        """Count the tokens of a whole batch.

        Args:
            mode: The weighting.
            sequence: (N,) index of the sequence that each policy token belongs to.
            length: See the class.
            average_sequences: See the class.
        """
        ids = np.asarray(sequence, np.int64)
        counts = np.bincount(ids) if ids.size else np.zeros(0, np.int64)
        return cls(Mode(mode), counts, length, average_sequences)

    @property
    def tokens(self) -> int:
        """Policy tokens in the batch."""
        return int(self.counts.sum())

    @property
    def sequences(self) -> int:
        """Sequences that have at least one policy token."""
        return int((self.counts > 0).sum())

    def weights(self) -> NDArray[np.float64]:
        """(S,) weight of each token of a sequence; 0 for an empty sequence."""
        live = self.counts > 0
        if self.mode is Mode.TOKEN_MEAN:
            weight = np.full(self.counts.shape, 1.0 / max(self.tokens, 1))
        elif self.mode is Mode.SEQ_MEAN_TOKEN_SUM:
            weight = np.full(self.counts.shape, 1.0 / max(self.sequences, 1))
        elif self.mode is Mode.SEQ_MEAN_TOKEN_MEAN:
            weight = 1.0 / (max(self.sequences, 1) * np.maximum(self.counts, 1))
        else:
            assert self.length is not None
            over = max(self.sequences, 1) if self.average_sequences else 1
            weight = np.full(self.counts.shape, 1.0 / (self.length * over))
        return np.where(live, weight, 0.0)


def aggregate(values: Tensor, sequence: Tensor, denominators: Denominators) -> Tensor:
    """Weighted sum of the tokens at hand; micro-batches of one batch add up to its value.

    Args:
        values: (n,) one number per policy token.
        sequence: (n,) int64 index of each token's sequence, counted over the whole batch.
        denominators: Of the whole batch.

    Returns:
        Scalar.

    Raises:
        AggregateError: A sequence that the denominators do not know.
    """
    check_known(sequence, denominators)
    weight = torch.as_tensor(denominators.weights(), dtype=values.dtype, device=values.device)
    return (values * weight[sequence]).sum()


def check_known(sequence: Tensor, denominators: Denominators) -> None:
    """Refuse tokens of sequences that were not counted.

    Raises:
        AggregateError: Such a token.
    """
    size = len(denominators.counts)
    if sequence.numel() and not 0 <= int(sequence.min()) <= int(sequence.max()) < size:
        raise AggregateError(
            f"sequence ids must lie in [0, {size}), got {int(sequence.min())} to "
            f"{int(sequence.max())}; take the denominators over the whole batch"
        )
