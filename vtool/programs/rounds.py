"""Several attempts at one task, played turn by turn side by side: what trees grow from.

Everybody writes a turn, then it is decided who forks, then the environments answer. Decisions
are taken in the order of the paths, never of the clock, so that a tree is a function of its key.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vtool.engines.base import TokenEngine
from vtool.environment import Environment
from vtool.message import Action
from vtool.programs.side_by_side import side_by_side
from vtool.programs.solo import Player, Watcher, guarded
from vtool.record import Context, Episode, Fork
from vtool.seat import Seat
from vtool.workspace import runtime_of

Maker = Callable[[int], Environment]
"""A fresh environment of the task, for attempt number so-and-so."""


@dataclass(eq=False, slots=True)
class Path:
    """One attempt under way.

    Args:
        player: Plays it.
        start: Number of the attempt that it began as.
        seconds: Time that it may still take.
        action: What it wrote in this round; None where it has ended.
        note: What a program remembers of it; a fork inherits it.
        going: Whether it has not ended.
    """

    player: Player
    start: int
    seconds: float
    action: Action | None = None
    note: float | None = None
    going: bool = True

    @property
    def context(self) -> Context:
        """Where it writes."""
        assert self.player.context is not None
        return self.player.context

    @property
    def at(self) -> Fork:
        """The point that it has come to, for a fork."""
        return Fork(self.context.number, len(self.context.segments))


@dataclass(eq=False, slots=True)
class Rounds:
    """The paths of one task.

    Args:
        make: Makes environments.
        seats: Who plays, by name.
        key: Seeds all draws; attempt i draws by `(*key, i)`.
        seat: The seat that plays.
        ears: Stands between the players and their engine; None for nothing.
        watch: Told after every change.
    """

    make: Maker
    seats: Mapping[str, Seat]
    key: tuple[int, ...]
    seat: str = "policy"
    ears: TokenEngine | None = None
    watch: Watcher | None = None
    episodes: list[Episode] = field(default_factory=list)
    """One for each start, with all that forked from it."""
    paths: list[Path] = field(default_factory=list)
    """All, in the order in which they came to be."""

    @property
    def active(self) -> list[Path]:
        """Those that go on."""
        return [p for p in self.paths if p.going]

    async def start(self, count: int) -> list[Path]:
        """Begin fresh attempts."""
        fresh = [self._fresh() for _ in range(count)]
        await side_by_side(self._engine, [self._timed(p, p.player.begin()) for p in fresh])
        return fresh

    async def fork(self, path: Path, at: Fork | None = None) -> Path:
        """A second path that goes on from where this one stands, or stood a moment ago.

        Args:
            path: With an environment that stands at that point.
            at: The point; where the path stands now by default.

        Raises:
            ForkRefused: The environment can be neither copied nor replayed.
        """
        env = await path.player.env.fork()
        trunk = path.player
        player = Player(env, trunk.seat, trunk.episode, trunk.key, {}, self.watch)
        player.context = trunk.episode.open(trunk.seat.name, edge=at or path.at, store=env.store)
        other = Path(player, path.start, path.seconds, note=path.note)
        self.paths.append(other)
        return other

    async def speak(self, paths: Sequence[Path]) -> list[Fork]:
        """Everybody writes a turn; answers the points from which they did."""
        for path in paths:  # in order: folding opens contexts, which are numbered
            path.player.fold()
        points = [p.at for p in paths]
        await self._each(paths, self._speak)
        return points

    async def answer(self, paths: Sequence[Path]) -> None:
        """The environments answer what was written."""
        await self._each(paths, self._answer)

    async def prune(self, path: Path) -> None:
        """Give a path up: it ends nowhere and is nobody's attempt."""
        path.going = False
        path.context.stop = None
        await path.player.env.close()

    async def close(self) -> None:
        """Give back what the environments hold, and let each record end as its last path did."""
        for path in self.paths:
            await path.player.env.close()
        for episode in self.episodes:
            settle(episode)

    def _fresh(self) -> Path:
        start = len(self.episodes)
        env = self.make(start)
        key = (*self.key, start)
        episode = Episode(task_id=env.task.id, seed=start, store=env.store, runtime=runtime_of(env))
        self.episodes.append(episode)
        seat = self.seats[self.seat]
        seat = seat if self.ears is None else replace(seat, engine=self.ears)
        path = Path(Player(env, seat, episode, key, {}, self.watch), start, env.limits.seconds)
        self.paths.append(path)
        return path

    @property
    def _engine(self) -> object:
        return self.seats[self.seat].engine

    async def _each(self, paths: Sequence[Path], act: Callable[[Path], Awaitable[None]]) -> None:
        going = [p for p in paths if p.going]
        await side_by_side(self._engine, [self._timed(p, act(p)) for p in going])

    async def _timed(self, path: Path, doing: Awaitable[None]) -> None:
        began = time.monotonic()
        await guarded(path.player, doing, max(0.0, path.seconds))
        spent = time.monotonic() - began
        path.seconds -= spent
        path.player.episode.seconds += spent
        context = path.player.context
        if context is None or context.stop is not None:
            path.going = False

    async def _speak(self, path: Path) -> None:
        path.action = await path.player.speak()

    async def _answer(self, path: Path) -> None:
        if path.action is not None:
            await path.player.answer(path.action)


def rollouts(episodes: Iterable[Episode]) -> tuple[Episode, ...]:
    """The attempts of some records: one view a finished path, in order.

    A record that nothing forks from is its own only attempt. A path that was given up is none.
    """
    found: list[Episode] = []
    for episode in episodes:
        if any(isinstance(c.edge, Fork) for c in episode.contexts):
            found += episode.leaves()
        elif not episode.contexts or episode.final.stop is not None:
            found.append(episode)
    return tuple(found)


def settle(episode: Episode) -> None:
    """Say of a record with several paths what is true of the last that ended."""
    ends = episode.leaves()
    if len(episode.contexts) > 1 and ends:
        episode.stop, episode.answer = ends[-1].stop, ends[-1].answer
