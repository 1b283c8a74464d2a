"""What a tool may keep between the calls of one episode: the pictures so far, and resources.

A tool whose function has a `Workspace` argument is not pure: what a call does may depend on earlier
ones. Its calls of one turn run one after the other, in call order, and what it keeps belongs to
one path of one episode: it is closed with the environment, and a fork makes its own or refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeVar

from vtool.errors import VToolError
from vtool.media import Image
from vtool.message import Json
from vtool.store import Store

if TYPE_CHECKING:
    from vtool.tool import Tool


class Held(Protocol):
    """A resource that lives as long as an episode."""

    def close(self) -> None:
        """Give it back; more than once is allowed, and from any thread."""
        ...

    def fork(self) -> Held:
        """One of its own for a branch, in the same state.

        Raises:
            ForkRefused: Its state can be neither copied nor replayed.
        """
        ...


T = TypeVar("T", bound=Held)
_numbers = itertools.count()


class Belongings:
    """The resources of one path of an episode. Whoever makes one closes it.

    One that is forgotten is closed when it is collected, and at the end of the process.
    """

    def __init__(self) -> None:
        self.key = f"{os.getpid()}-{next(_numbers)}"
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._end = weakref.finalize(self, _close_all, self._held)

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The resource of that name; made on first use.

        Raises:
            VToolError: The episode is over.
        """
        with self._lock:
            if self._closed:
                raise VToolError(f"nothing can be kept under {name!r}: the episode is over")
            if name not in self._held:
                self._held[name] = make()
            return self._held[name]  # type: ignore[return-value]

    def fork(self) -> Belongings:
        """What a branch has: its own copy of each resource.

        Raises:
            ForkRefused: A resource can be neither copied nor replayed.
        """
        other = Belongings()
        with self._lock:
            mine = dict(self._held)
        try:
            for name, held in mine.items():
                other._held[name] = held.fork()
        except BaseException:
            other.close()
            raise
        return other

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            self._closed = True
        self._end()


def _close_all(held: dict[str, Held]) -> None:
    with contextlib.ExitStack() as stack:  # one that fails to close does not keep the others
        for one in held.values():
            stack.callback(one.close)


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a tool gets if its function asks for a `Workspace` argument."""

    key: str
    """Names the path of the episode within this process."""
    images: Mapping[str, Image]
    """The pictures that can be seen from here, by handle, in order of arrival; read-only."""
    belongings: Belongings
    """Where resources are kept."""
    seconds: float
    """The deadline of this call."""
    seed: int
    """For tools that draw, as in `Call`."""


class Lending:
    """What the such calls of one turn share.

    Args:
        store: What can be seen from here.
        belongings: Where resources are kept; none where nothing outlives the turn.
    """

    def __init__(self, store: Store, belongings: Belongings | None) -> None:
        self._store = store
        self._kept = belongings is not None
        self._belongings = belongings or Belongings()
        self._turns: dict[str, asyncio.Lock] = {}

    def turn(self, tool: Tool) -> contextlib.AbstractAsyncContextManager[object]:
        """Hold this while a call runs: such calls of one tool go in call order."""
        if tool.workspace_arg is None:
            return contextlib.nullcontext()
        return self._turns.setdefault(tool.spec.name, asyncio.Lock())

    def workspace(self, seconds: float, seed: int) -> Workspace:
        """The workspace of one call."""
        images = {e.handle: e.value for e in self._store if isinstance(e.value, Image)}
        kept = self._belongings
        return Workspace(kept.key, MappingProxyType(images), kept, seconds, seed)

    async def end(self) -> None:
        """Give back what was only borrowed for this turn."""
        if not self._kept:
            await asyncio.to_thread(self._belongings.close)


def contract(tools: Iterable[Tool]) -> dict[str, Json]:
    """What an episode's record says of its tools.

    `persistent` tells whether a tool keeps state between calls: a policy trained with and without
    writes different programs, so that traces of both must not be mixed unawares.
    """
    chosen = list(tools)
    keeps = [t for t in chosen if t.workspace_arg and getattr(t.settings, "persistent", True)]
    return {
        "tools": {t.spec.name: t.spec.version for t in chosen},
        "persistent": bool(keeps),
    }


def runtime_of(env: object) -> dict[str, Json]:
    """The contract that an environment states; empty where it states none."""
    return dict(getattr(env, "runtime", {}))


def check_runtime(recorded: Mapping[str, Json], here: Mapping[str, Json]) -> None:
    """Whether episodes of one contract may be used for a policy that runs under another.

    Contracts that do not say are let through: older records know nothing of it.

    Raises:
        VToolError: One keeps state between calls and the other does not.
    """
    then, now = recorded.get("persistent"), here.get("persistent")
    if then is None or now is None or then == now:
        return
    kept = {True: "kept", False: "did not keep"}
    raise VToolError(
        f"the episode's tools {kept[bool(then)]} state between calls, those here would "
        f"{'keep' if now else 'not keep'} it: choose episodes of one kind, or set `persistent`"
    )
