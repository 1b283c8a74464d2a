"""Two views of one prompt: every placeholder written out, or one a picture.

The learner and the `hf` engine read expanded ids; servers that expand placeholders themselves
want one a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtool.engines.base import Prompt
from vtool.errors import RecordError
from vtool.record import Ids


def collapse(prompt: Prompt) -> Ids:
    """Ids with one placeholder a picture, int32."""
    keep = np.ones(len(prompt.ids), np.bool_)
    for picture in prompt.pictures:
        run = picture.run
        keep[run.start + 1 : run.start + run.length] = False
    return np.ascontiguousarray(prompt.ids[keep])


def expand(ids: Ids, lengths: Sequence[int], placeholder: int | Sequence[int]) -> Ids:
    """The inverse: each placeholder repeated for its picture.

    Args:
        ids: Collapsed ids.
        lengths: Placeholder tokens of each picture, in order.
        placeholder: Its id, or those of pictures and of clips.

    Raises:
        RecordError: There are more or fewer placeholders than pictures.
    """
    at = np.flatnonzero(np.isin(ids, placeholder))
    if len(at) != len(lengths):
        raise RecordError(f"{len(at)} placeholders for {len(lengths)} pictures")
    repeats = np.ones(len(ids), np.int64)
    repeats[at] = lengths
    return np.repeat(ids, repeats).astype(np.int32)
