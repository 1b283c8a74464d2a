"""Arrays over visits: an attempt at one of its steps, as `Layout` counts them."""

from __future__ import annotations

import numpy as np

from .advantage import Bools, Floats
from .attempts import Ints
from .fork_advantage import Pool


def first_of_turn(attempt: Ints, position: Ints) -> Bools:
    """(V,) True for the first visit of each turn of each attempt."""
    out = np.zeros(len(attempt), bool)
    _, at = np.unique(np.stack([attempt, position]), axis=1, return_index=True)
    out[at] = True
    return out


def of_first(values: Floats, attempt: Ints, position: Ints) -> Floats:
    """(V,) each visit has the value of the first visit of its turn."""
    _, at, back = np.unique(
        np.stack([attempt, position]), axis=1, return_index=True, return_inverse=True
    )
    return values[at][back.reshape(-1)]


def to_end(attempt: Ints, position: Ints) -> Floats:
    """(V,) turns between each visit and the last one of its attempt."""
    last = np.zeros(int(attempt.max(initial=-1)) + 1)
    np.maximum.at(last, attempt, position)
    return last[attempt] - position


def pooled(values: Floats, step: Ints, mask: Bools, count: int, pool: Pool) -> Floats:
    """(S,) over the believed visits of each step; NaN where there is none."""
    out = np.full(count, np.nan)
    for number in np.unique(step[mask]):
        here = values[mask & (step == number)]
        out[number] = here.max() if pool is Pool.MAX else here.mean()
    return out
