"""Questions to begin with: pictures and videos of the small worlds, drawn when the studio opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtool.errors import MissingExtra
from vtool.media import Image
from vtool.worlds.zoom import Kind, Split, draw

from ..figure import data_address
from ..markup import Html, tag

_SEEDS = ((11, Kind.ONE), (23, Kind.TWO), (7, Kind.NONE), (42, Kind.ONE))
_VIDEOS = ((5, "both"), (8, "where"), (11, "when"))
"""Chosen so that the shipped policy looks again; of others it often does not."""
FOREIGN = "what is the man holding?"
"""A question that no shipped policy can know the answer of."""


@dataclass(frozen=True, slots=True)
class Example:
    """A file, a question about it, and a picture of it."""

    path: Path
    question: str
    picture: Image


def picture_examples(root: Path) -> list[Example]:
    """Pictures as files, each with its question; the last question is from another world.

    Args:
        root: Where the files go.
    """
    folder = root / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    found = [_picture(folder, seed, kind) for seed, kind in _SEEDS]
    return [*found, Example(found[0].path, FOREIGN, found[0].picture)]


def _picture(folder: Path, seed: int, kind: Kind) -> Example:
    scene = draw(seed, kind=kind, split=Split.HELD_OUT)
    path = folder / f"{kind.value}-{seed}.png"
    image = Image(scene.pixels)
    path.write_bytes(image.encode("PNG"))
    return Example(path, scene.question, image)


def video_examples(root: Path) -> list[Example]:
    """Videos as files, each with its question; none where videos cannot be written here."""
    folder = root / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return [_video(folder, seed, ask) for seed, ask in _VIDEOS]
    except MissingExtra:
        return []


def _video(folder: Path, seed: int, ask: str) -> Example:
    from vtool.worlds.moments import Ask, draw
    from vtool.worlds.moments_files import write_video

    moment = draw((900_000 << 32) + seed, split=Split.HELD_OUT, variable=0.0, tenths=(200, 300))
    path = folder / f"moment-{seed}.mp4"
    write_video(path, moment)
    frame = moment.frame(moment.row_at(moment.span.start_s + 0.05))
    return Example(path, Ask(ask).words, Image.adopt(frame.copy()))


def example_strip(examples: Sequence[Example]) -> Html:
    """The examples, to be chosen with a click."""
    cards = [
        tag(
            "button",
            tag("img", src=data_address(e.picture), alt="", width=52, height=52),
            tag("span", e.question),
            type="button",
            class_="vs-example",
            data_pick=f"example:{i}",
        )
        for i, e in enumerate(examples)
    ]
    title = tag("p", "Examples, held out from training", class_="vs-label")
    return tag("div", title, tag("div", cards, class_="vs-examples"))
