"""What a context is to learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtool.message import Author
from vtool.record import Context, Episode

from .advantage import Floats


@dataclass(frozen=True, slots=True)
class Credit:
    """What a context is to learn.

    Args:
        episode: An attempt that it belongs to.
        context: The context.
        segments: A number for each of its segments, for all of the segment's tokens.
        tokens: Where some tokens get more or less than that: (n,) for each segment, else None.
        whole: Whether the prefix that it shares is learnt here too.
        given: Leading segments of that prefix that nobody learns from.
    """

    episode: Episode
    context: Context
    segments: tuple[float, ...]
    tokens: tuple[Floats | None, ...] = ()
    whole: bool = False
    given: int = 0

    @property
    def first(self) -> int:
        """The first segment that is learnt here."""
        return self.given if self.whole else self.context.shared

    @property
    def laid(self) -> tuple[float | Floats, ...]:
        """For each segment one number, or one a token: what `make_sample` takes."""
        if not self.tokens:
            return self.segments
        pairs = zip(self.segments, self.tokens, strict=True)
        return tuple(base if extra is None else extra for base, extra in pairs)

    @property
    def dead(self) -> bool:
        """Whether no policy token of its own would move."""
        own = list(zip(self.context.segments, self.laid, strict=True))
        return not any(np.any(c) for s, c in own[self.first :] if s.author is Author.POLICY)
