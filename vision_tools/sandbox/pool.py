"""Guests that are started before they are wanted: loading numpy and PIL takes its time.

A guest serves one episode. One that has run anything is never given to another.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from .session import Kind, Session, is_spent


class Pool:
    """Waiting guests, by kind."""

    def __init__(self) -> None:
        self._waiting: dict[Kind, deque[Session]] = {}
        self._lock = threading.Lock()
        # A guest dies with the thread that started it: one that lives as long as we do starts all.
        self._starter = ThreadPoolExecutor(1, "vtool-sandbox")
        self._process = os.getpid()
        atexit.register(self.close)

    def take(self, kind: Kind, spare: int = 0) -> Session:
        """A guest that has run nothing; others are started in its stead.

        Args:
            kind: What it must be.
            spare: How many shall wait from now on.

        Raises:
            SandboxError: It cannot be started.
        """
        session = self._pop(kind)
        if session is None:
            session = self._starter.submit(Session, kind).result()
        for _ in range(spare - self.waiting(kind)):
            self._starter.submit(self._add, kind)
        return session

    def give(self, session: Session) -> None:
        """A guest that its episode needs no more: ended, unless it has run nothing."""
        if is_spent(session) or not session.alive:
            session.close()
            return
        with self._lock:
            self._waiting.setdefault(session.kind, deque()).append(session)

    def waiting(self, kind: Kind) -> int:
        """How many wait."""
        with self._lock:
            return len(self._waiting.get(kind, ()))

    def close(self) -> None:
        """End all that wait."""
        if os.getpid() != self._process:  # a forked copy of us: they are its parent's
            return
        with self._lock:
            waiting = [s for queue in self._waiting.values() for s in queue]
            self._waiting.clear()
        for session in waiting:
            session.close()

    def _add(self, kind: Kind) -> None:
        with contextlib.suppress(Exception):  # whoever wants one will be told why there is none
            self.give(Session(kind))

    def _pop(self, kind: Kind) -> Session | None:
        while True:
            with self._lock:
                queue = self._waiting.get(kind)
                session = queue.popleft() if queue else None
            if session is None or session.alive:
                return session
            session.close()


_pools: dict[int, Pool] = {}
_lock = threading.Lock()


def pool() -> Pool:
    """This process's pool."""
    with _lock:
        if os.getpid() not in _pools:
            _pools[os.getpid()] = Pool()
        return _pools[os.getpid()]
