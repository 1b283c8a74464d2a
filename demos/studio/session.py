"""What each visitor has under way: kept apart by session, bounded in number and in time."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vtool.errors import DataError
from vtool.geometry import Box

from .attempt import Attempt
from .path import PathView, ends, view_path
from .replay import Replay
from .workbench import Workbench

MAX_SESSIONS = 512
STOPPED = "stopped before it began"
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Place:
    """One attempt and where its visitor looks.

    Args:
        attempt: What was asked.
        leaf: The context whose path is shown; None for the last.
        handle: The picture that is shown large; empty for the source.
        call: Number of the chosen call, 0 for none.
        turn: The turn that the pen is on.
        drawn: A box that the person has drawn on `handle`.
    """

    attempt: Attempt | None = None
    leaf: int | None = None
    handle: str = ""
    call: int = 0
    turn: int = 0
    drawn: Box | None = None

    def path(self) -> PathView | None:
        """What there is to see; None before anything was said."""
        episode = self.attempt.episode if self.attempt else None
        if self.attempt is None or episode is None or not episode.contexts:
            return None
        leaf = self.leaf if self.leaf is not None else ends(episode)[-1]
        return view_path(episode, leaf, self.attempt.seconds)

    def begin(self, attempt: Attempt) -> None:
        """Look at a new attempt."""
        self.attempt, self.leaf, self.drawn = attempt, None, None
        self.handle, self.call, self.turn = "", 0, 0


@dataclass(slots=True, eq=False)
class Session:
    """A visitor.

    Args:
        folder: For files made for this visitor; gone with the session.
    """

    folder: Path
    bench: Workbench = field(default_factory=Workbench)
    replay: Replay = field(default_factory=Replay)
    places: dict[str, Place] = field(default_factory=dict)
    touched: float = 0.0
    made: int = 0
    stopped: float = -math.inf
    """When Stop was pressed last, on the monotonic clock."""
    doing: set[asyncio.Future[Any]] = field(default_factory=set)
    """Tools that run by hand."""

    def place(self, name: str) -> Place:
        """Where the visitor is in one tab."""
        return self.places.setdefault(name, Place())

    def count(self) -> int:
        """A number that was not given before."""
        self.made += 1
        return self.made

    def file(self, name: str) -> Path:
        """A path for a new file or folder of this visitor."""
        folder = self.folder / str(self.count())
        folder.mkdir(parents=True)
        return folder / name

    async def stop(self) -> bool:
        """Stop whatever goes on for this visitor; whether anything did."""
        self.stopped = time.monotonic()
        attempts = [p.attempt for p in self.places.values() if p.attempt]
        by_hand = [task.cancel() for task in self.doing]
        return any([await a.stop() for a in attempts] + by_hand)

    def check(self, asked: float) -> None:
        """Refuse what was asked before Stop was pressed: it waited, or comes in several parts.

        Args:
            asked: When it was, on the monotonic clock.

        Raises:
            DataError: It was stopped since.
        """
        if self.stopped >= asked:
            raise DataError(STOPPED)

    async def run(self, doing: Coroutine[Any, Any, T], asked: float) -> T:
        """Wait for something that Stop, or leaving the page, ends.

        Args:
            doing: What is waited for.
            asked: When it was asked for, on the monotonic clock.

        Raises:
            DataError: It was stopped, now or before it began.
        """
        try:
            self.check(asked)
        except DataError:
            doing.close()
            raise
        task = asyncio.ensure_future(doing)
        self.doing.add(task)
        try:
            await asyncio.wait({task})
            if task.cancelled():
                raise DataError("stopped by you")
            return task.result()
        finally:
            task.cancel()
            self.doing.discard(task)


@dataclass(slots=True, eq=False)
class Sessions:
    """All visitors.

    Args:
        keep_seconds: A session that was not used for so long is forgotten.
        most: Sessions beyond which the oldest is forgotten.
        clock: Seconds.
    """

    keep_seconds: float
    most: int = MAX_SESSIONS
    clock: Callable[[], float] = time.monotonic
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vtool-studio-")))
    _all: dict[str, Session] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._all)

    def of(self, name: str | None) -> Session:
        """The session of that name; made if it is new.

        Raises:
            DataError: There is no name: all who have none would be one visitor.
        """
        if not name:
            raise DataError("expected a request of a session: ask through the page or its client")
        session = self._all.pop(name, None)
        if session is None:
            self._sweep()
            session = Session(Path(tempfile.mkdtemp(prefix="s", dir=self.root)))
        session.touched = self.clock()
        self._all[name] = session  # last used, last in order
        return session

    async def leave(self, name: str | None) -> None:
        """A visitor has gone: what went on is stopped, what was kept is dropped."""
        session = self._all.pop(name or "", None)
        if session is not None:
            await session.stop()
            _drop(session)

    def close(self) -> None:
        """Drop everything."""
        self._all.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def _sweep(self) -> None:
        now = self.clock()
        for key, session in list(self._all.items()):
            old = now - session.touched > self.keep_seconds
            if old or len(self._all) >= self.most:
                _drop(self._all.pop(key))


def _drop(session: Session) -> None:
    shutil.rmtree(session.folder, ignore_errors=True)
