"""Contexts to tensors: what the learner sees of a record.

A `Sample` is one context with one number of credit for each token that may be learnt from. A
`Batch` lays samples into rows, right-padded or packed, encodes each distinct picture once, and
knows where the log-prob of each target token is read. Nothing but target tokens enters a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vtool.engines.base import Picture
from vtool.errors import RecordError
from vtool.families.base import Family, Patches
from vtool.message import Author
from vtool.record import Context
from vtool.render import Renderer

from .advantage import Floats
from .packing import (
    block_causal_mask,
    concatenate,
    micro_batches,
    pack,
    predictors,
    segment_ids,
)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One context, ready to be laid into a row.

    Args:
        ids: int32 (L,).
        positions: int64 (3, L), M-RoPE.
        pictures: Showings, counted from the start.
        target: bool (L,), tokens to learn from.
        old_logp: float32 (L,), behaviour log-probs on policy tokens, else 0.
        advantage: float32 (L,), credit of each token; read on targets only.
        proximal: float32 (L,), log-probs by the learner at the start of a step, where it made
            them; None for the recorded ones.
    """

    ids: NDArray[np.int32]
    positions: NDArray[np.int64]
    pictures: tuple[Picture, ...]
    target: NDArray[np.bool_]
    old_logp: NDArray[np.float32]
    advantage: NDArray[np.float32]
    proximal: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dead(self) -> bool:
        """Whether no target has any credit: it counts in the means and moves nothing."""
        return not self.advantage[self.target].any()


def make_sample(
    context: Context,
    renderer: Renderer,
    family: Family,
    credit: Sequence[float | Floats] | float = 1.0,
    authors: tuple[Author, ...] = (Author.POLICY,),
    *,
    whole: bool = False,
    given: int = 0,
) -> Sample:
    """A sample of a context.

    The prefix that a fork shares is no target, unless `whole`: it is learnt from in the parent.

    Args:
        context: With tokens.
        renderer: Checks and lays out its pictures.
        family: Gives positions.
        credit: One number for all, or for each segment of `context.segments` one number or one
            a token.
        authors: Whose tokens are targets.
        whole: Whether the prefix that a fork shares is a target too,
        given: but for so many leading segments of it, which were handed in from a past.

    Raises:
        RecordError: A count of placeholders, grids or pixel rows is off, or credits do not match
            the segments.
    """
    prompt = renderer.prompt(context)
    blocks = [family.block(p.run.start, p.run.grid, times_s=p.times_s) for p in prompt.pictures]
    before = context.segments[: given if whole else context.shared]
    own = np.arange(len(prompt.ids)) >= sum(len(s) for s in before)
    return Sample(
        ids=prompt.ids,
        positions=family.positions(len(prompt.ids), blocks),
        pictures=prompt.pictures,
        target=context.mask(*authors) & own,
        old_logp=context.logprobs(),
        advantage=_per_token(context, credit),
    )


def _per_token(context: Context, credit: Sequence[float | Floats] | float) -> NDArray[np.float32]:
    segments = context.segments
    if isinstance(credit, int | float):
        credit = [credit] * len(segments)
    if len(credit) != len(segments):
        raise RecordError(f"{len(credit)} credits for {len(segments)} segments")
    out: list[NDArray[np.float32]] = []
    for segment, value in zip(segments, credit, strict=True):
        numbers = np.asarray(value, np.float32)
        if numbers.shape not in ((), (len(segment),)):
            raise RecordError(f"{numbers.size} credits for a segment of {len(segment)} tokens")
        out.append(np.broadcast_to(numbers, (len(segment),)))
    return np.concatenate(out) if out else np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples as tensors.

    Args:
        ids: int64 (B, L).
        positions: int64 (3, B, L).
        mask: bool (B, 1, L, L) for packed rows; a layout (`prefix_attention.layout`) for one row
            of shared prefixes; None for right-padded rows, where causality alone keeps real
            tokens from padding.
        patches: Distinct pictures, each to be encoded once.
        shows: For each showing in reading order, which of the pictures it shows.
        visual: bool (B, L), placeholder tokens.
        reads: int64 (N,), flat positions whose hidden states predict the targets.
        targets: int64 (N,), ids of the target tokens.
        old_logp: float32 (N,), behaviour log-probs.
        proximal: float32 (N,), what ratios are taken against.
        advantage: float32 (N,).
        sequence: int64 (N,), sample of each target, counted over the whole step.
        tokens: Real tokens.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    patches: tuple[Patches, ...]
    shows: tuple[int, ...]
    visual: Tensor
    reads: Tensor
    targets: Tensor
    old_logp: Tensor
    proximal: Tensor
    advantage: Tensor
    sequence: Tensor
    tokens: int

    @property
    def computed(self) -> int:
        """Tokens computed, padding included."""
        return int(self.ids.numel())


def plan(
    lengths: Sequence[int],
    *,
    row_tokens: int,
    batch_tokens: int,
    chosen: Sequence[int] | None = None,
) -> list[list[list[int]]]:
    """Which samples go into which row of which micro-batch.

    Args:
        lengths: Tokens of each sample.
        chosen: The samples to lay out, by index; all by default.
        row_tokens: Samples are packed into rows of so many tokens; 0 gives each its own row.
        batch_tokens: Tokens of a micro-batch, padding included.

    Returns:
        Micro-batches of rows of samples; rows of like length meet.
    """
    names = list(range(len(lengths)) if chosen is None else chosen)
    sizes = [lengths[i] for i in names]
    packed = pack(sizes, row_tokens) if row_tokens else [[i] for i in range(len(sizes))]
    rows = [[names[i] for i in row] for row in packed]
    widths = [sum(lengths[i] for i in row) for row in rows]
    return [[rows[r] for r in batch] for batch in micro_batches(widths, batch_tokens)]


def make_batch(
    samples: Sequence[Sample],
    rows: Sequence[Sequence[int]],
    placeholder: int | Sequence[int],
    *,
    names: Sequence[int] | None = None,
    mask: Tensor | None = None,
) -> Batch:
    """Lay samples into rows.

    Args:
        samples: All samples of the step.
        rows: Samples of each row, by index.
        placeholder: Id of the placeholder token, or all of them.
        names: What each sample is called in `Batch.sequence`; by default its index.
        mask: What keeps the samples of a row apart; by default a block for each.

    Raises:
        RecordError: Placeholders and pixel rows do not match.
    """
    ids = concatenate([s.ids for s in samples], rows).astype(np.int64)
    target = concatenate([s.target for s in samples], rows).astype(bool)
    segments = segment_ids([[len(samples[i]) for i in row] for row in rows])
    reads, tokens = predictors(target, segments)
    order = [i for row in rows for i in row]
    patches, shows = _distinct([samples[i] for i in order])
    visual = np.logical_or.reduce([ids == p for p in np.atleast_1d(placeholder)])
    _check_counts(visual, patches, shows, [samples[i] for i in order])

    def flat(arrays: Sequence[ArrayLike] | Mapping[int, ArrayLike], dtype: type) -> Tensor:
        laid = concatenate(arrays, rows).reshape(-1)[tokens]
        return torch.from_numpy(np.ascontiguousarray(laid.astype(dtype)))

    numbers = {i: np.full(len(samples[i]), i if names is None else names[i]) for i in order}
    if mask is None and any(len(row) > 1 for row in rows):
        mask = block_causal_mask(torch.from_numpy(segments))
    return Batch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(
            np.ascontiguousarray(concatenate([s.positions for s in samples], rows))
        ),
        mask=mask,
        patches=patches,
        shows=shows,
        visual=torch.from_numpy(visual),
        reads=torch.from_numpy(reads),
        targets=torch.from_numpy(ids.reshape(-1)[tokens]),
        old_logp=flat([s.old_logp for s in samples], np.float32),
        proximal=flat(
            [s.old_logp if s.proximal is None else s.proximal for s in samples], np.float32
        ),
        advantage=flat([s.advantage for s in samples], np.float32),
        sequence=flat(numbers, np.int64),
        tokens=int((segments >= 0).sum()),
    )


def _distinct(samples: Sequence[Sample]) -> tuple[tuple[Patches, ...], tuple[int, ...]]:
    """Pictures by digest, each once, and which of them every showing shows."""
    found: dict[str, int] = {}
    patches: list[Patches] = []
    shows: list[int] = []
    for picture in (p for s in samples for p in s.pictures):
        if picture.digest not in found:
            found[picture.digest] = len(patches)
            patches.append(picture.patches)
        shows.append(found[picture.digest])
    return tuple(patches), tuple(shows)


def _check_counts(
    visual: NDArray[np.bool_],
    patches: Sequence[Patches],
    shows: Sequence[int],
    samples: Sequence[Sample],
) -> None:
    runs = [p.run for s in samples for p in s.pictures]
    for number, (run, show) in enumerate(zip(runs, shows, strict=True)):
        if patches[show].grid != run.grid:
            raise RecordError(
                f"showing {number} has grid {run.grid}, but its pixels have {patches[show].grid}"
            )
    wanted = sum(run.length for run in runs)
    if int(visual.sum()) != wanted:
        raise RecordError(
            f"{int(visual.sum())} placeholder tokens, but pictures for {wanted}: contexts and "
            "pictures do not belong together"
        )
