"""Search backends: what users put behind the search tool, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from vtool.errors import nearest
from vtool.needs import Lack, LackKind
from vtool.registry import Registry
from vtool.tool import Settings

from .hits import Hit
from .index import Folder, open_index


@dataclass(frozen=True, slots=True)
class SearchSettings(Settings):
    """What is searched, and how much is told.

    Args:
        backend: Name of a registered backend; none by default, so that nothing is asked of
            anybody unless people say of whom.
        folder: For the backend ``folder``: where its pictures and texts lie.
        options: For other backends: text that their makers define.
        k: Results of one call.
        chars: Of one result's text.
        pictures: Pictures among the results of one call.
        side: Pixels of their longer side.
    """

    backend: str | None = None
    folder: str | None = None
    options: str = ""
    k: int = 5
    chars: int = 400
    pictures: int = 2
    side: int = 1024


class SearchBackend(Protocol):
    """Something that can be asked.

    A failure of its own (no network, no quota) is raised as any exception: that is nobody's
    fault who asked, and the episode is masked. What was wrong with a query is a `ModelFault`.
    """

    def search(self, query: str, k: int) -> Sequence[Hit]:
        """At most `k` results, best first; safe to call from several threads."""
        ...


search_backends: Registry[Callable[[SearchSettings], SearchBackend]] = Registry(
    "search backend", "vtool.search_backends"
)
"""Makers of backends by name. Published packages add theirs through the entry point group."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The need of a backend that people name in the settings."""

    def lack(self, settings: object) -> Lack | None:
        """Missing where none is named, it is not known, or what it needs is not there."""
        chosen = getattr(settings, "backend", None)
        names = ", ".join(search_backends)
        fix = f"set search.backend to one of: {names}"
        if not chosen:
            return Lack(LackKind.SETTING, "backend is not set", fix)
        if chosen not in search_backends:
            what = f"backend {chosen!r} is not known{nearest(chosen, search_backends)}"
            return Lack(LackKind.SETTING, what, fix)
        return Folder("search").lack(settings) if chosen == "folder" else None


@lru_cache(maxsize=8)
def open_backend(settings: SearchSettings) -> SearchBackend:
    """The backend of some settings, made once a process."""
    assert settings.backend is not None
    return search_backends.get(settings.backend)(settings)


class FolderBackend:
    """Searches a folder of the user's by words, like `retrieve`."""

    def __init__(self, settings: SearchSettings) -> None:
        assert settings.folder is not None
        self._index = open_index(settings.folder, "colour_gradient")

    def search(self, query: str, k: int) -> Sequence[Hit]:
        """Documents whose words match."""
        return [
            Hit(
                m.document.name,
                m.document.text,
                self._index.picture(m.document) if m.document.picture else None,
            )
            for m in self._index.find(query, None, k)
        ]


search_backends.add("folder", FolderBackend)
