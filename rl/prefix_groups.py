"""Which samples begin alike, and how they are laid so that the beginning is computed once.

The attempts of a group answer one prompt, mostly a picture and the words on tools: learnt from
side by side, it is computed once an attempt. Samples whose first tokens, positions and pictures
are the same are found here, whoever made them, and cut into a prefix and branches. The last token
before the first target stays with its branch, so that all that is learnt from is read there.

Source: Liu et al., "Prefix Grouper" (2025), arXiv 2506.05433.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vtool.families.prefix_attention import layout

from .batch import Batch, Sample, make_batch
from .packing import pack


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Samples that begin alike.

    Args:
        prefix: Tokens that they share.
        members: The samples, by index.
    """

    prefix: int
    members: tuple[int, ...]

    def tokens(self, samples: Sequence[Sample]) -> int:
        """Tokens that are computed."""
        return self.prefix + sum(len(samples[i]) - self.prefix for i in self.members)


def prefix_groups(
    samples: Sequence[Sample], chosen: Sequence[int], budget: int
) -> tuple[list[PrefixGroup], list[int]]:
    """Find samples that begin alike.

    Args:
        samples: All samples of the step.
        chosen: Those to look at, by index.
        budget: Tokens that a group may hold; a larger one is cut into several.

    Returns:
        Groups of two samples or more, and the samples that are in none, in the order of `chosen`.
    """
    found: dict[int, dict[Hashable, list[int]]] = {}
    cuts = {i: _cut(samples[i]) for i in chosen}
    # Short prefixes first: what forked later goes on from the same prompt as its parent.
    for number in sorted((i for i in chosen if cuts[i] > 0), key=lambda i: cuts[i]):
        sample, own = samples[number], cuts[number]
        known = ((cut, _key(sample, cut)) for cut in found if _whole(sample, cut))
        home = next(((cut, key) for cut, key in known if key in found[cut]), None)
        cut, key = (own, _key(sample, own)) if home is None else home
        found.setdefault(cut, {}).setdefault(key, []).append(number)
    groups = [
        PrefixGroup(cut, members)
        for cut, keys in found.items()
        for row in keys.values()
        for members in _split(samples, sorted(row), cut, budget)
        if len(members) > 1
    ]
    inside = {i for g in groups for i in g.members}
    return groups, [i for i in chosen if i not in inside]


def pack_groups(
    samples: Sequence[Sample], groups: Sequence[PrefixGroup], budget: int
) -> list[list[PrefixGroup]]:
    """Groups of each micro-batch, in as few of `budget` tokens as `pack` finds."""
    rows = pack([g.tokens(samples) for g in groups], budget)
    return [[groups[i] for i in row] for row in rows]


def make_shared_batch(
    samples: Sequence[Sample], groups: Sequence[PrefixGroup], placeholder: int | Sequence[int]
) -> Batch:
    """Lay groups into one row.

    Args:
        samples: All samples of the step.
        groups: What to lay.
        placeholder: As for `make_batch`.
    """
    pieces: list[Sample] = []
    names: list[int] = []
    for group in groups:
        first = group.members[0]
        pieces.append(_piece(samples[first], 0, group.prefix))
        pieces += [_piece(samples[i], group.prefix, len(samples[i])) for i in group.members]
        names += [first, *group.members]
    own = [(g.prefix, tuple(len(samples[i]) - g.prefix for i in g.members)) for g in groups]
    rows = [list(range(len(pieces)))]
    return make_batch(pieces, rows, placeholder, names=names, mask=layout(own))


def _cut(sample: Sample) -> int:
    """Tokens before the one that predicts the first target; 0 where a picture would be torn."""
    if not sample.target.any():
        return 0
    cut = int(np.argmax(sample.target)) - 1
    return cut if _whole(sample, cut) else 0


def _whole(sample: Sample, cut: int) -> bool:
    return all(p.run.start + p.run.length <= cut or p.run.start >= cut for p in sample.pictures)


def _key(sample: Sample, cut: int) -> Hashable:
    """What the hidden states of a prefix are computed from."""
    shown = tuple((p.digest, p.run.start, p.run.grid) for p in sample.pictures if p.run.start < cut)
    return sample.ids[:cut].tobytes(), sample.positions[:, :cut].tobytes(), shown


def _split(
    samples: Sequence[Sample], members: Sequence[int], cut: int, budget: int
) -> list[tuple[int, ...]]:
    """Cut a group where it would hold more than the budget."""
    rows = pack([len(samples[i]) - cut for i in members], max(1, budget - cut))
    return [tuple(members[i] for i in row) for row in rows]


def _piece(sample: Sample, start: int, stop: int) -> Sample:
    """Some tokens of a sample, with the pictures shown among them."""
    here = slice(start, stop)
    pictures = tuple(
        replace(p, run=replace(p.run, start=p.run.start - start))
        for p in sample.pictures
        if start <= p.run.start < stop
    )
    return Sample(
        sample.ids[here],
        sample.positions[:, here],
        pictures,
        sample.target[here],
        sample.old_logp[here],
        sample.advantage[here],
        None if sample.proximal is None else sample.proximal[here],
    )
