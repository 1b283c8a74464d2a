"""The garbage collector in a long loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled_heap() -> Iterator[None]:
    """What lives now is left out of the collector's passes until the end.

    Libraries and models are a million objects that live as long as the run; to walk them again
    and again costs a small run some hundredths of its time. Where something is left out already,
    by a loop around this one or a program that embeds it, nothing is changed: what was frozen by
    others can only be given back together with ours.
    """
    first = gc.get_freeze_count() == 0
    if first:
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        if first:
            gc.unfreeze()
