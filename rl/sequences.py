"""Sums and means over whole sequences of flat tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from vtool.errors import VToolError

from .aggregate import Denominators, check_known


class TornSequence(VToolError, ValueError):
    """A number of a whole sequence was asked for, but only some of its tokens are here."""


def sequence_sum(values: Tensor, sequence: Tensor, denominators: Denominators) -> Tensor:
    """(S,) sum over each sequence; 0 for sequences that are not here. Carries gradient.

    Args:
        values: (n,) one number per policy token.
        sequence: (n,) int64 index of each token's sequence, counted over the whole batch.
        denominators: Of the whole batch.

    Raises:
        TornSequence: Some tokens of a sequence are here, and others are not.
        AggregateError: A sequence that the denominators do not know.
    """
    check_known(sequence, denominators)
    counts = torch.as_tensor(denominators.counts, device=values.device)
    here = torch.bincount(sequence, minlength=len(counts))
    torn = torch.nonzero((here > 0) & (here != counts)).flatten()
    if torn.numel():
        first = int(torn[0])
        raise TornSequence(
            f"whole sequences are needed (GSPO, sequence weights): {int(here[first])} of "
            f"{int(counts[first])} tokens of sequence {first} are here; keep a sequence in one "
            "micro-batch"
        )
    zeros = torch.zeros(len(counts), dtype=values.dtype, device=values.device)
    return zeros.index_add(0, sequence, values)


def sequence_mean(values: Tensor, sequence: Tensor, denominators: Denominators) -> Tensor:
    """(S,) mean over each sequence; see `sequence_sum`."""
    counts = torch.as_tensor(denominators.counts, device=values.device)
    return sequence_sum(values, sequence, denominators) / counts.clamp(min=1).to(values.dtype)
