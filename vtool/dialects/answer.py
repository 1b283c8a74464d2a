"""Final answers that say more than words: places, attributes, a confidence.

An answer to a located question is JSON, alone or in one fenced block::

    [x1, y1, x2, y2]                      a box           [[...], [...]]   boxes
    [x, y]                                a point         [[...], [...]]   points
    {"bbox_2d": [...], "label": ..., "image": ...}        one of these, or a list of them
    {"point_2d": [...]}                                   "image" names a picture as calls do
    "$mask_1"    {"mask": "mask_1"}                       masks that a tool made, or a list

Units and order of the numbers are the dialect's, never guessed from their size. An answer that
names no picture speaks of the one that the task asks about. Anything else is a typed fault in
the record: nothing is repaired, and one bad place makes the whole answer bad.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vtool.dialects.base import Dialect, ShownSize
from vtool.dialects.jsontext import read_json
from vtool.errors import FaultCode, GeometryError, ModelFault, StoreError
from vtool.geometry import Box, Mask, Point, Region
from vtool.message import Action, Fault, Json, Reading
from vtool.store import Store
from vtool.task import Attributes, Boxes, Masks, Points, Task

MAX_PLACES = 1000
"""More places than any picture's reference holds."""

_FENCE = re.compile(r"\A```[a-z]*\n(.*)\n```\Z", re.DOTALL)
_CONFIDENCE = re.compile(r"<confidence>([^<]{1,40})</confidence>")
_KEYS = {"bbox_2d", "point_2d", "mask", "label", "image"}


def read_answer(
    action: Action, task: Task, store: Store, dialect: Dialect, shown: ShownSize
) -> Reading | None:
    """What the answer of a turn says, for the kind of answer that the task asks for.

    Args:
        action: A turn that answers.
        task: What was asked.
        store: What is visible from here.
        dialect: Says units, order, and how pictures are named.
        shown: Size of the latest showing of a picture.

    Returns:
        None where the answer is words alone and no confidence was told.
    """
    wanted = task.reference
    try:
        told = _confidence(action.text)
        if isinstance(wanted, Boxes | Points | Masks):
            places = _Places(task, store, dialect, shown)
            return Reading(places.read(action.answer or ""), confidence=told)
        if isinstance(wanted, Attributes):
            return Reading(attributes=_attributes(action.answer or ""), confidence=told)
    except ModelFault as fault:
        return Reading(fault=Fault(fault.code, fault.message, fault.hint, fault.field))
    return None if told is None else Reading(confidence=told)


class _Places:
    """Reads places of one answer."""

    def __init__(self, task: Task, store: Store, dialect: Dialect, shown: ShownSize) -> None:
        assert isinstance(task.reference, Boxes | Points | Masks)
        self.store, self.dialect, self.shown = store, dialect, shown
        self.wanted = {Boxes: Box, Points: Point, Masks: Mask}[type(task.reference)]
        roots = [e for e in store.images() if e.origin.parent is None]
        self.asked = roots[task.reference.image].handle

    def read(self, answer: str) -> tuple[Region, ...]:
        """All places.

        Raises:
            ModelFault: One of them is none, or of another kind than asked for.
        """
        value = _json(answer, "mask" if self.wanted is Mask else "")
        rows = value if isinstance(value, list) and not _numbers(value) else [value]
        if len(rows) > MAX_PLACES:
            raise ModelFault(
                FaultCode.TOO_LARGE, f"an answer has at most {MAX_PLACES} places, got {len(rows)}"
            )
        return tuple(self._place(row) for row in rows)

    def _place(self, row: Json) -> Region:
        image: Json = None
        if isinstance(row, dict):
            kinds = set(row) & {"bbox_2d", "point_2d", "mask"}
            if len(kinds) != 1 or set(row) - _KEYS:
                raise _unlike("an object with one of bbox_2d, point_2d, mask", row)
            image = row.get("image")
            row = row[kinds.pop()]
        if isinstance(row, str):
            return self._mask(row)
        if not isinstance(row, list) or not _numbers(row) or len(row) not in (2, 4):
            raise _unlike("two numbers for a point, four for a box", row)
        handle = self.asked if image is None else self.dialect.picture(image, self.store)
        return self._shape([float(v) for v in row if isinstance(v, int | float)], handle)

    def _shape(self, numbers: list[float], handle: str) -> Region:
        size, coords = self.store.size(handle), self.dialect.coordinates
        assert size is not None
        kind = Box if len(numbers) == 4 else Point
        if kind is not self.wanted:
            raise self._other_kind(f"a {kind.__name__.lower()}")
        read = coords.read_box if kind is Box else coords.read_point
        try:
            return Region(handle, read(numbers, original=size, shown=self.shown(handle)))
        except GeometryError as err:
            hint = f"coordinates are {coords.describe()}"
            raise ModelFault(err.code, str(err), hint=hint, field="answer") from None

    def _mask(self, name: str) -> Region:
        if self.wanted is not Mask:
            raise self._other_kind("the name of a mask")
        try:
            entry = self.store[name.strip().removeprefix("$")]
        except StoreError:
            entry = None
        if entry is None or not isinstance(entry.value, Mask):
            made = ", ".join(e.handle for e in self.store if e.kind == "mask") or "none yet"
            raise ModelFault(
                FaultCode.BAD_ARGS,
                f"no mask is called {name[:40]!r}",
                hint=f"masks: {made}",
                field="answer",
            )
        return Region(entry.handle, entry.value)

    def _other_kind(self, came: str) -> ModelFault:
        asked = {Box: "boxes", Point: "points", Mask: "masks"}[self.wanted]
        return ModelFault(
            FaultCode.BAD_ARGS, f"the question asks for {asked}, got {came}", field="answer"
        )


def _attributes(answer: str) -> Mapping[str, str]:
    value = _json(answer)
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise _unlike("an object of names and texts", value)
    return {name.strip().casefold(): str(text) for name, text in value.items()}


def _json(answer: str, bare: str = "") -> Json:
    """The JSON value of an answer; a bare name (`$mask_1`) where these are asked for."""
    text = answer.strip()
    fenced = _FENCE.match(text)
    text = fenced.group(1) if fenced else text
    if bare and re.fullmatch(rf"\$?{bare}_\d{{1,6}}", text):
        return text
    return read_json(text)


def _confidence(text: str) -> float | None:
    """The one confidence that a turn tells.

    Raises:
        ModelFault: It is no number in [0, 1], or there are several.
    """
    told = _CONFIDENCE.findall(text)
    if not told:
        return None
    value = read_json(told[0])
    if len(told) > 1 or not _numbers([value]) or not 0 <= float(value) <= 1:  # type: ignore[arg-type]
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"a confidence is one number from 0 to 1, got {', '.join(told)[:60]}",
            field="confidence",
        )
    return float(value)  # type: ignore[arg-type]


def _numbers(row: list[Json]) -> bool:
    return bool(row) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in row)


def _unlike(expected: str, came: Json) -> ModelFault:
    told = repr(came)
    told = told if len(told) <= 60 else told[:57] + "..."
    return ModelFault(FaultCode.BAD_ARGS, f"expected {expected}, got {told}", field="answer")
