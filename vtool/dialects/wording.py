"""Words that dialects share: faults, places that were really used, turns in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vtool.dialects.base import Control, Dialect, Piece, ShownSize
from vtool.dialects.jsontext import write_json
from vtool.errors import ModelFault, RecordError
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.message import Action, Fault, Found, Json, Message, Show, Text
from vtool.store import Store

_KEYS = {Box: "box", Mask: "box", Point: "point", Span: "span"}


def said(
    message: Message, dialect: Dialect, store: Store, shown: ShownSize | None
) -> tuple[Piece, ...]:
    """One observation: pictures, words, faults, what was found, places really used, a line each."""
    pieces: list[Piece] = list(message.parts)
    if not pieces:
        pieces = [Text(fault_text(o.fault)) for o in message.outcomes if o.fault]
    things = [f for o in message.outcomes for f in o.found]
    if things:
        pieces.append(Text(found(things, dialect, store, shown)))
    regions = [r for o in message.outcomes for r in o.effective]
    if regions:
        pieces.append(Text(used(regions, dialect, store, shown)))
    return spaced(pieces, "\n")


def fault_text(fault: Fault) -> str:
    """A fault as the model is told it."""
    told = ModelFault(fault.code, fault.message, hint=fault.hint, field=fault.field)
    return told.to_json()


def used(regions: Sequence[Region], dialect: Dialect, store: Store, shown: ShownSize | None) -> str:
    """States the places that a tool really used, in the dialect's coordinates."""
    body: list[Json] = [
        {**_named(r.media, dialect, store), "used": place(r, dialect, store, shown)}
        for r in regions
    ]
    return write_json(body[0] if len(body) == 1 else body)


def found(things: Sequence[Found], dialect: Dialect, store: Store, shown: ShownSize | None) -> str:
    """States what a tool found, a line each, in the dialect's coordinates."""
    return "\n".join(write_json(_thing(f, dialect, store, shown)) for f in things)


def _thing(thing: Found, dialect: Dialect, store: Store, shown: ShownSize | None) -> Json:
    body: dict[str, Json] = _named(thing.region.media, dialect, store)
    if thing.label:
        body["label"] = thing.label
    body[_KEYS[type(thing.region.shape)]] = place(thing.region, dialect, store, shown)
    if thing.score is not None:
        body["score"] = round(thing.score, 2)
    return {**body, **thing.facts}


def _named(handle: str, dialect: Dialect, store: Store) -> dict[str, Json]:
    """A picture as the dialect names it; a mask or map without one under it by its handle."""
    kind = store[handle].kind
    if kind in ("image", "clip"):
        return {"image": dialect.picture_name(handle, store)}
    return {kind: f"${handle}"}


def place(region: Region, dialect: Dialect, store: Store, shown: ShownSize | None) -> Json:
    """One place in raw numbers."""
    shape = region.shape
    if isinstance(shape, Span):
        return [round(shape.start_s, 3), round(shape.end_s, 3)]
    size = store.size(region.media)
    if size is None:
        raise RecordError(f"{region.media} has no size: no place in it can be written")
    seen = shown(region.media) if shown else None
    if isinstance(shape, Point):
        return list(dialect.coordinates.write_point(shape, original=size, shown=seen))
    box = shape.box() if isinstance(shape, Mask) else shape
    assert isinstance(box, Box)
    return list(dialect.coordinates.write_box(box, original=size, shown=seen))


def spaced(pieces: Sequence[Piece], between: str) -> tuple[Piece, ...]:
    """The same pieces with text between them."""
    out: list[Piece] = []
    for piece in pieces:
        out += [Text(between), piece] if out else [piece]
    return tuple(out)


def split_marks(text: str, marks: Sequence[str]) -> tuple[Piece, ...]:
    """Cut a text at its tags: tags become `Control`, the rest stays `Text`."""
    return tuple(_split(text, re.compile("|".join(re.escape(m) for m in marks))))


def joined(pieces: Sequence[Piece]) -> str:
    """The words of some pieces."""
    return "".join(p.text for p in pieces if not isinstance(p, Show))


def check_readable(action: Action, pieces: Sequence[Piece], dialect: Dialect) -> None:
    """What is written must be read back as what was meant.

    Raises:
        RecordError: It is not: the action cannot be said in this dialect.
    """
    again = dialect.parse(joined(pieces))
    if essence(again) != essence(action):
        raise RecordError(
            f"this turn cannot be written in {dialect.name}: it would be read as "
            f"{essence(again)}, not as {essence(action)}"
        )


def essence(action: Action) -> tuple[object, ...]:
    """An action without spans and exact text."""
    calls = tuple((c.name, dict(c.arguments)) for c in action.calls)
    answer = None if action.answer is None else action.answer.strip()
    return (action.thought.strip(), calls, answer, tuple(f.code for f in action.faults))


def _split(text: str, marks: re.Pattern[str]) -> Iterator[Piece]:
    at = 0
    for found in marks.finditer(text):
        if found.start() > at:
            yield Text(text[at : found.start()])
        yield Control(found.group())
        at = found.end()
    if at < len(text):
        yield Text(text[at:])
