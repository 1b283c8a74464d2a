"""Things that can be chosen by name, ours through the same door as a stranger's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from vtool.errors import UnknownName, VToolError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things, filled by `add` and, lazily, from an entry point group.

    Args:
        kind: What the things are, for messages ("tool", "reward part").
        group: Entry point group of published packages, such as ``vtool.tools``; None for none.
        load: Imports our own rooms that register things here, on first need.
    """

    def __init__(
        self, kind: str, group: str | None = None, load: Callable[[], object] | None = None
    ) -> None:
        self.kind = kind
        self._group = group
        self._load = load
        self._things: dict[str, T] = {}
        self._points: dict[str, object] | None = None

    def add(self, name: str, thing: T) -> T:
        """Register a thing.

        Raises:
            VToolError: Another thing has that name. Registering the same source object again
                (a module imported twice) is no error.
        """
        old = self._things.get(name)
        if old is not None and old is not thing and _where(old) != _where(thing):
            raise VToolError(
                f"{self.kind} {name!r} is registered twice: {_where(old)} and {_where(thing)}"
            )
        self._things[name] = thing
        return thing

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownName: No such thing; the message names the nearest.
        """
        self._discover()
        assert self._points is not None
        if name not in self._things and name in self._points:
            self._things[name] = self._points[name].load()  # type: ignore[attr-defined]
        if name not in self._things:
            raise UnknownName(self.kind, name, self.names())
        return self._things[name]

    def names(self) -> list[str]:
        """All names, sorted; entry points are listed without being loaded."""
        self._discover()
        assert self._points is not None
        return sorted({*self._things, *self._points})

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _discover(self) -> None:
        if self._points is None:
            found = entry_points(group=self._group) if self._group else ()
            self._points = {point.name: point for point in found}
            if self._load:
                self._load()


def _where(thing: object) -> tuple[str, str]:
    code = getattr(getattr(thing, "fn", thing), "__code__", None)
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return (code.co_filename if code else repr(thing), name)
