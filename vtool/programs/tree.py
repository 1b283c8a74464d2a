"""Trees of attempts: at every turn each path proposes several, and some of them are gone on with.

Source: PORTool (arXiv 2510.26020): n attempts start; every path that has not ended proposes f
turns, and as many are kept as attempts are still missing. Which ones is not said in what we
read: `Keep.RANDOM` draws among all proposals, so that a path may be given up and another one
split; `Keep.EVEN` goes round the paths and gives none up before all have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vtool.errors import ForkRefused, RecipeError
from vtool.programs.chance import chance
from vtool.programs.rounds import Maker, Path, Rounds, rollouts
from vtool.record import Episode
from vtool.seat import Seat


class Keep(StrEnum):
    """Which proposals are gone on with."""

    RANDOM = "random"
    EVEN = "even"


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """How a tree grows.

    Args:
        starts: Attempts that begin; 0 for as many as there are to be in the end.
        fork: Turns that a path proposes; 1 forks nothing.
        keep: Which of them are gone on with.
        nodes: Turns that may be written in all before nothing forks any more; 0 for any number.
    """

    starts: int = 0
    fork: int = 2
    keep: Keep = Keep.RANDOM
    nodes: int = 0

    def __post_init__(self) -> None:
        if self.fork < 1 or self.starts < 0 or self.nodes < 0:
            raise RecipeError(
                "a tree needs fork >= 1, starts >= 0 and nodes >= 0, got "
                f"{self.fork}, {self.starts}, {self.nodes}"
            )


async def tree(
    make: Maker,
    seats: Mapping[str, Seat],
    *,
    count: int,
    settings: TreeSettings | None = None,
    key: tuple[int, ...] = (0,),
    seat: str = "policy",
) -> tuple[Episode, ...]:
    """Play exactly `count` attempts at a task, as a tree.

    Args:
        make: Makes environments.
        seats: Who plays, by name.
        count: Attempts in the end.
        settings: How the tree grows.
        key: Seeds all draws.
        seat: The seat that plays.

    Returns:
        The attempts. Those that began as one share a record; their `Fork` edges say where they
        parted. Proposals that nobody went on with are in the record too, as paths that end
        nowhere.
    """
    told = settings or TreeSettings()
    grower = _Grower(Rounds(make, seats, key, seat), told, count, key)
    rounds = grower.rounds
    try:
        await grower.start(min(told.starts or count, count))
        while grower.missing:
            if not rounds.active:  # all have ended before there were enough
                await grower.start(grower.missing)
            await grower.round()
    finally:
        await rounds.close()
    return rollouts(rounds.episodes)


@dataclass(slots=True)
class _Grower:
    rounds: Rounds
    settings: TreeSettings
    count: int
    key: tuple[int, ...]
    ended: int = 0
    written: int = 0
    number: int = 0

    @property
    def missing(self) -> int:
        """Attempts that have not ended yet, begun or not."""
        return self.count - self.ended

    async def start(self, count: int) -> None:
        """Fresh attempts; one that cannot even begin has ended."""
        self.ended += sum(not path.going for path in await self.rounds.start(count))

    async def round(self) -> None:
        """Everybody proposes; some are kept; the environments answer those."""
        families = [[path] for path in self.rounds.active]
        left = self.settings.nodes - self.written - len(families)
        for family in families:
            if self.settings.nodes == 0 or left >= self.settings.fork - 1:
                family += await self._forks(family[0])
                left -= len(family) - 1
        proposals = [path for family in families for path in family]
        self.written += len(proposals)
        await self.rounds.speak(proposals)
        kept = self._kept(families)
        for path in proposals:
            if path not in kept:
                await self.rounds.prune(path)
        await self.rounds.answer(kept)
        self.ended += sum(not path.going for path in kept)
        self.number += 1

    async def _forks(self, path: Path) -> list[Path]:
        """More paths from where this one stands; none at the very beginning: those are starts."""
        if path.context.turn == 0:
            return []
        try:
            return [await self.rounds.fork(path) for _ in range(self.settings.fork - 1)]
        except ForkRefused:  # fresh attempts take the place of what could not fork
            return []

    def _kept(self, families: Sequence[Sequence[Path]]) -> list[Path]:
        ranked = [
            (i, f, path) for f, family in enumerate(families) for i, path in enumerate(family)
        ]
        if self.settings.keep is Keep.EVEN:
            ranked.sort(key=lambda r: r[:2])
        else:
            order = chance("tree", (*self.key, self.number)).permutation(len(ranked))
            ranked = [ranked[i] for i in order]
        chosen = {id(path) for _, _, path in ranked[: self.missing]}
        return [path for family in families for path in family if id(path) in chosen]
