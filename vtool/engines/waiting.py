"""The waiting room of an engine: who waits, who may still come, and which batch begins next.

In synchronous mode a batch begins only when everybody who may still ask is waiting, and its rows
are sorted by key. The batch is then a function of seeds and turns, whatever the clock did.
Otherwise a batch is whoever waits, first come first served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vtool.engines.base import Completion, Request


@dataclass(slots=True, eq=False)
class Ticket:
    """One request on its way through an engine."""

    request: Request
    future: asyncio.Future[Completion]
    cancelled: bool = False
    """Set by the waiting side; read by the forward, which then drops the row."""


@dataclass(slots=True, eq=False)
class Party:
    """Some participants that were announced together."""

    count: int
    """How many of them may still ask."""
    on_leave: Callable[[], None] | None = None
    """Called when one leaves: those who wait may not need to any longer."""

    def leave(self) -> bool:
        """One will not ask again; False if all had left already."""
        if self.count == 0:
            return False
        self.count -= 1
        if self.on_leave is not None:
            self.on_leave()
        return True


@dataclass(slots=True, eq=False)
class WaitingRoom:
    """Requests that wait, and the participants that may add to them.

    Args:
        synchronous: Whether a batch waits for all participants and is sorted by key.
        max_rows: Rows per batch at most.
    """

    synchronous: bool
    max_rows: int
    _waiting: list[Ticket] = field(default_factory=list)
    _sorted: list[Ticket] = field(default_factory=list)
    """What is left of a synchronous batch of more than `max_rows` rows."""
    _parties: list[Party] = field(default_factory=list)

    def add(self, ticket: Ticket) -> None:
        """Somebody begins to wait."""
        self._waiting.append(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Somebody stops waiting before being served."""
        self._waiting = [t for t in self._waiting if t is not ticket]
        self._sorted = [t for t in self._sorted if t is not ticket]

    def clear(self) -> list[Ticket]:
        """Send everybody away, and answer who that was."""
        gone = [*self._sorted, *self._waiting]
        self._sorted, self._waiting = [], []
        return gone

    @property
    def live(self) -> int:
        """Participants that may still ask."""
        return sum(party.count for party in self._parties)

    @property
    def ready(self) -> bool:
        """Whether a batch may begin now."""
        if self._sorted:
            return True
        if not self._waiting:
            return False
        return not self.synchronous or len(self._waiting) >= self.live

    def take(self) -> list[Ticket]:
        """The next batch; empty when none may begin."""
        if not self.ready:
            return []
        if not self.synchronous:
            batch, self._waiting = self._waiting[: self.max_rows], self._waiting[self.max_rows :]
            return batch
        if not self._sorted:
            self._sorted, self._waiting = sorted(self._waiting, key=_order), []
        batch, self._sorted = self._sorted[: self.max_rows], self._sorted[self.max_rows :]
        return batch

    @contextmanager
    def participants(self, count: int) -> Iterator[Party]:
        """Announce `count` more participants for the duration of the context."""
        party = Party(count)
        self._parties.append(party)
        try:
            yield party
        finally:
            self._parties = [p for p in self._parties if p is not party]

    def leave(self) -> None:
        """A participant of the oldest party that still has one will not ask again."""
        next((party for party in self._parties if party.leave()), None)


def _order(ticket: Ticket) -> tuple[tuple[int, ...], bytes]:
    return ticket.request.key, ticket.request.prompt.ids.tobytes()
