"""The search tool: asks what the user has put behind it, and nothing else."""

from __future__ import annotations

from vtool.tool import Observation, tool

from .backends.hits import Caps, tell
from .backends.search import Backend, SearchSettings, open_backend
from .retrieve import check_query

_NOBODY = SearchSettings()


@tool(version="1", pure=False, needs=(Backend(),))
def search(query: str, settings: SearchSettings = _NOBODY) -> Observation:
    """Search for information by words.

    Args:
        query: Words to search for.
        settings: Who is asked; chosen by people.
    """
    check_query(query)
    hits = open_backend(settings).search(query.strip(), settings.k)
    return tell(hits, Caps(settings.k, settings.chars, settings.pictures, settings.side))
