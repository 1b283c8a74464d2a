"""What a search gives, and how it is told: so many hits, so many words, so many pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtool.media import Image
from vtool.tool import Observation


@dataclass(frozen=True, slots=True)
class Hit:
    """One result.

    Args:
        title: What it is called: a file below a folder, the title of a page.
        text: What it says.
        picture: What it shows, if it is a picture.
    """

    title: str
    text: str = ""
    picture: Image | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds of what a model is told.

    Args:
        hits: Results.
        chars: Of one result's text.
        pictures: Pictures among the results.
        side: Pixels of a picture's longer side; larger ones are made smaller.
    """

    hits: int
    chars: int
    pictures: int
    side: int


def tell(hits: Sequence[Hit], caps: Caps) -> Observation:
    """Results as a numbered list; pictures as values, in the order of the list."""
    lines: list[str] = []
    pictures: list[Image] = []
    for number, hit in enumerate(hits[: caps.hits], 1):
        mark = ""
        if hit.picture is not None and len(pictures) < caps.pictures:
            pictures.append(smaller(hit.picture, caps.side))
            mark = f" [picture {len(pictures)}]"
        said = f": {cut(hit.text, caps.chars)}" if hit.text.strip() else ""
        lines.append(f"{number}. {cut(hit.title, 120)}{mark}{said}")
    if not lines:
        return Observation(text="nothing found")
    return Observation(values=tuple(pictures), text="\n".join(lines))


def cut(text: str, most: int) -> str:
    """One line of at most so many characters; what is cut ends in a mark."""
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def smaller(image: Image, side: int) -> Image:
    """The picture, no longer than that; it begins a lineage of its own."""
    longest = max(image.size)
    if longest <= side:
        return image.rooted()
    width, height = (max(1, round(v * side / longest)) for v in image.size)
    return image.resize((width, height)).rooted()
