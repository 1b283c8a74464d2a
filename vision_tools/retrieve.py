"""The retrieval tool: what a folder of the user's holds on words, or on a picture."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.errors import FaultCode, ModelFault
from vtool.media import Image
from vtool.tool import Observation, Settings, tool

from .backends.bm25 import words
from .backends.hits import Caps, Hit, tell
from .backends.index import Folder, open_index

MAX_QUERY = 1000


@dataclass(frozen=True, slots=True)
class RetrieveSettings(Settings):
    """What is searched, and how much is told.

    Args:
        folder: Pictures and texts (.txt, .md, .json captions and sidecars).
        k: Results of one call.
        embedder: Name of a registered embedder; the built-in one finds near copies of a picture.
        keep: Folder where vectors of pictures are kept between runs.
        chars: Of one result's text.
        pictures: Pictures among the results of one call.
        side: Pixels of their longer side.
        min_likeness: Pictures less like the given one than this are left out, -1 to 1.
    """

    folder: str | None = None
    k: int = 5
    embedder: str = "colour_gradient"
    keep: str | None = None
    chars: int = 400
    pictures: int = 3
    side: int = 1024
    min_likeness: float = 0.5


@tool(version="1", seconds=120.0, needs=(Folder("retrieve"),))
def retrieve(
    query: str = "",
    image: Image | None = None,
    settings: RetrieveSettings = RetrieveSettings(),
) -> Observation:
    """Look things up in a collection of pictures and texts.

    Give words, a picture, or both: words find texts and captions, a picture finds pictures that
    look like it.

    Args:
        query: Words to look for.
        image: Picture to look for.
        settings: What is searched; chosen by people.
    """
    check_query(query, image)
    assert settings.folder is not None
    index = open_index(settings.folder, settings.embedder, settings.keep)
    matches = index.find(query.strip(), image, settings.k)
    if image is not None and not query.strip():
        matches = [m for m in matches if m.score >= settings.min_likeness]
    hits = [
        Hit(m.document.name, m.document.text, index.picture(m.document) if at else None)
        for m, at in ((m, m.document.picture) for m in matches)
    ]
    return tell(hits, Caps(settings.k, settings.chars, settings.pictures, settings.side))


def check_query(query: str, image: Image | None = None) -> None:
    """Something to look for, of a length that can be meant.

    Raises:
        ModelFault: `bad_args` or `too_large`.
    """
    if len(query) > MAX_QUERY:
        raise ModelFault(
            FaultCode.TOO_LARGE,
            f"the query has {len(query)} characters, at most {MAX_QUERY}",
            field="query",
        )
    if not words(query) and image is None:
        raise ModelFault(FaultCode.BAD_ARGS, "there is nothing to look for", field="query")
