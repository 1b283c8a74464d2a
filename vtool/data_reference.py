"""What a row wants of an answer, where that is not words: places, an option, several attributes.

Beside ``answer`` (words) and ``spans`` (seconds), a row may hold one of::

    "boxes": [[812, 204, 868, 260]]            pixels of picture `at` (0 by default)
    "points": [[840, 232]]                     likewise
    "options": ["red", "blue"], "answer": "B"  multiple choice; the letter or the option's words
    "attributes": {"colour": ["red"], "shape": ["disc", "circle"]}

and ``calls``, the tool calls that a good attempt makes, for rewards that compare calls: names and
arguments as the tools have them, pictures by handle, places in unit coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from vtool.choice import chosen
from vtool.errors import DataError, GeometryError
from vtool.geometry import Box, Convention, Units
from vtool.media import Image
from vtool.message import ToolCall
from vtool.task import Attributes, Boxes, Choice, Points, Reference

_PIXELS = Convention(Units.ORIGINAL)


class CallLine(BaseModel):
    """A wanted call, as written."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    arguments: dict[str, Any] = {}


class ReferenceLine(BaseModel):
    """The part of a row that says what is wanted, as written."""

    model_config = ConfigDict(extra="ignore", strict=True)
    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = []
    points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = []
    at: Annotated[int, Field(ge=0)] = 0
    options: list[str] = []
    attributes: dict[str, str | list[str]] = {}
    calls: list[CallLine] = []


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row wants beside words and spans; at most one of the first four is there."""

    boxes: tuple[tuple[float, ...], ...] = ()
    points: tuple[tuple[float, ...], ...] = ()
    options: tuple[str, ...] = ()
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    at: int = 0
    """Picture on which the places lie (0-based)."""
    calls: tuple[ToolCall, ...] = ()

    @property
    def kind(self) -> str | None:
        """boxes, points, options or attributes; None for words and spans alone."""
        names = ("boxes", "points", "options", "attributes")
        return next((n for n in names if getattr(self, n)), None)

    @property
    def needs_words(self) -> bool:
        """Whether the row must say an answer in words."""
        return self.kind in (None, "options")


def read_wanted(where: str, line: ReferenceLine, pictures: int) -> Wanted:
    """What a row wants.

    Raises:
        DataError: It wants several kinds at once, or places on a picture that is not there.
    """
    wanted = Wanted(
        tuple(map(tuple, line.boxes)),
        tuple(map(tuple, line.points)),
        tuple(line.options),
        tuple((k, (v,) if isinstance(v, str) else tuple(v)) for k, v in line.attributes.items()),
        line.at,
        tuple(ToolCall(c.name, c.arguments) for c in line.calls),
    )
    kinds = [k for k in ("boxes", "points", "options", "attributes") if getattr(wanted, k)]
    if len(kinds) > 1:
        raise DataError(f"{where}: expected one kind of reference, got {' and '.join(kinds)}")
    if (wanted.boxes or wanted.points) and wanted.at >= pictures:
        raise DataError(f"{where}: expected `at` to be picture 0 to {pictures - 1}, got {line.at}")
    return wanted


def wanted_reference(
    where: str, wanted: Wanted, answers: Sequence[str], pictures: Sequence[Image]
) -> Reference | None:
    """The reference of a task; None where words and spans say it all.

    Raises:
        DataError: A place that does not lie in its picture, or no option that is the answer.
    """
    if wanted.options:
        return _choice(where, wanted.options, answers)
    if wanted.attributes:
        return Attributes(_accepted(wanted.attributes))
    if not (wanted.boxes or wanted.points):
        return None
    size = pictures[wanted.at].size
    if wanted.boxes:
        boxes = (read_box(where, b, pictures[wanted.at]) for b in wanted.boxes)
        return Boxes(tuple(boxes), wanted.at)
    try:
        points = (_PIXELS.read_point(p, original=size) for p in wanted.points)
        return Points(tuple(points), wanted.at)
    except GeometryError as err:
        raise DataError(f"{where}: {wanted.kind}: {err}") from err


def read_box(where: str, bbox: Sequence[float], picture: Image) -> Box:
    """Pixels of a picture to a box.

    Raises:
        DataError: Inverted, empty, or not wholly inside the picture.
    """
    width, height = picture.size
    try:
        if min(bbox) < 0 or bbox[2] > width or bbox[3] > height:
            raise GeometryError(f"the box leaves the picture of {width}x{height} pixels")
        return _PIXELS.read_box(bbox, original=picture.size)
    except GeometryError as err:
        raise DataError(f"{where}: box {list(bbox)}: {err}") from err


def _choice(where: str, options: Sequence[str], answers: Sequence[str]) -> Choice:
    picked = {chosen(answer, options) for answer in answers} - {None}
    if len(picked) != 1:
        raise DataError(
            f"{where}: expected `answer` to be one of the options, by letter or by its words, got "
            f"{list(answers)} for {list(options)}"
        )
    (index,) = picked
    assert index is not None
    return Choice(tuple(options), index)


def _accepted(attributes: Sequence[tuple[str, tuple[str, ...]]]) -> Mapping[str, tuple[str, ...]]:
    return dict(attributes)
