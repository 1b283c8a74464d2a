"""Which pairs a `prefer` stage learns from, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vtool.errors import RecipeError


class Pairing(StrEnum):
    """How attempts become pairs."""

    TREE = "tree"
    """At each step of a successful path, it against its failed siblings (TP-LLaMA)."""
    RANKED = "ranked"
    """The best attempt of a group against its worst (Tool-Star's self-critic)."""


@dataclass(frozen=True)
class PairSpec:
    """How attempts become pairs.

    Args:
        by: tree or ranked.
        threshold: For tree: total from which an attempt is a success.
        margin: For ranked: totals must lie further apart.
        most: Pairs a group, the first ones; 0 for all.
    """

    by: Pairing = Pairing.TREE
    threshold: float = 1.0
    margin: float = 0.0
    most: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", Pairing(self.by))
        if self.margin < 0 or self.most < 0:
            raise RecipeError(
                f"pairs needs margin >= 0 and most >= 0, got {self.margin}, {self.most}"
            )
