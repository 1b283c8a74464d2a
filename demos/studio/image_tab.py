"""Ask about a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtool.errors import DataError
from vtool.media import Image

from .ask_tab import AskTab, Given
from .board import plain_board
from .picture_input import picture_input
from .viewer import STRIP
from .world import outside


class ImageTab(AskTab):
    """The tab."""

    name = "image"
    tools = ("zoom",)
    invitation = "Choose a picture, or one of the examples, and ask."
    strip = STRIP

    def media_input(self) -> Any:
        """A picture by file or clipboard."""
        return picture_input("Picture", "vs-media-image", scale=2)

    def open(self, path: str | None) -> Given:
        """Read the picture."""
        image = open_picture(path)
        return Given((image,), plain_board(image))

    def outside(self, model: str, question: str, given: Given) -> str | None:
        """Small policies know pictures of one size with one kind of question."""
        pictures = tuple(p for p in given.parts if isinstance(p, Image))
        return outside(model, question, pictures)


def open_picture(path: str | None) -> Image:
    """The picture that was chosen.

    Raises:
        DataError: None was.
        MediaError: It is not one, or too large.
    """
    if not path:
        raise DataError("expected a picture: drop one here, paste one, or choose an example")
    return Image.open(Path(path))
