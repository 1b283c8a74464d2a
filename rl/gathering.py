"""Numbers of tokens from batches back to the samples that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import Batch, Sample
from .kl import KL_ESTIMATORS, to_go
from .loss_spec import LossSpec
from .policy import Policy

Row = NDArray[np.float32]


def target_logprobs(
    policy: Policy, samples: Sequence[Sample], batches: Iterable[Batch]
) -> list[Row]:
    """For each sample the log-probs of its targets in order, without gradient.

    Args:
        policy: Whose.
        samples: The samples.
        batches: Laid from them; samples that lie in none get an empty row.
    """
    out = [np.zeros(0, np.float32) for _ in samples]
    with torch.no_grad():
        for batch in batches:
            logp, sequence = policy(batch)[0].float().cpu(), batch.sequence.cpu()
            for number in torch.unique(sequence).tolist():
                out[number] = logp[sequence == number].numpy()
    return out


def with_proximal(samples: Sequence[Sample], rows: Sequence[Row]) -> list[Sample]:
    """Samples whose ratios are taken against these log-probs."""
    out = []
    for sample, row in zip(samples, rows, strict=True):
        if not len(row):
            out.append(sample)
            continue
        proximal = sample.old_logp.copy()
        proximal[np.flatnonzero(sample.target)] = row
        out.append(replace(sample, proximal=proximal))
    return out


def priced(samples: Sequence[Sample], references: Sequence[Row], spec: LossSpec) -> list[Sample]:
    """Samples whose credit has paid for the KL of each token and of all tokens after it.

    Args:
        samples: With behaviour log-probs.
        references: Log-probs of each sample's targets under the reference.
        spec: Estimator and coefficient.

    Source: KL as a reward of each token (PPO for language models; REINFORCE++,
    arXiv 2501.03262), undiscounted.
    """
    out = []
    for sample, reference in zip(samples, references, strict=True):
        places = np.flatnonzero(sample.target)
        old, ref = torch.from_numpy(sample.old_logp[places]), torch.from_numpy(reference)
        price = spec.kl_coef * to_go(KL_ESTIMATORS[spec.kl](old, ref))
        advantage = sample.advantage.copy()
        advantage[places] -= price.numpy()
        out.append(replace(sample, advantage=advantage))
    return out


def sums(values: Tensor, sequence: Tensor, weights: Sequence[float]) -> Tensor:
    """Each sequence's sum times its weight, added up; carries gradient."""
    factor = torch.tensor(weights, dtype=values.dtype, device=values.device)
    return (values * factor[sequence]).sum()
