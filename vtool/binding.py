"""From a model's raw arguments to values: the only place where that happens.

Strict: no coercion, no guessing. Every refusal is a `ModelFault` that names the field, says
what was expected and what came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vtool.dialects.base import Dialect
from vtool.errors import FaultCode, GeometryError, ModelFault, StoreError, nearest
from vtool.geometry import Box, Mask, Region, Shape, Size, Span
from vtool.laying import lay_mask
from vtool.message import BoundCall, Json, ToolCall
from vtool.store import Store
from vtool.tool import Tool
from vtool.toolspec import MEDIA_KINDS, PLACE_KINDS, VALUE_KINDS, Kind, Param

Shown = Callable[[str], Size | None]
"""Size at which the model last saw a picture, by handle."""


@dataclass(slots=True)
class Binding:
    """Arguments read so far."""

    values: dict[str, object] = field(default_factory=dict)
    """What the function is called with."""
    media: dict[str, str] = field(default_factory=dict)
    """Handles by argument; the pictures of a list as `images[0]`, `images[1]` ..."""
    regions: dict[str, tuple[Region, ...]] = field(default_factory=dict)
    plain: dict[str, Json] = field(default_factory=dict)
    clamped: bool = False
    """Whether a place reached over the border and was cut."""

    def bound(self, call: ToolCall, tool: Tool) -> BoundCall:
        """The record of it."""
        return BoundCall(call, tool.spec.name, self.media, self.regions, self.plain)


def bind(
    call: ToolCall,
    tool: Tool,
    names: Mapping[str, str],
    store: Store,
    dialect: Dialect,
    shown: Shown,
) -> Binding:
    """Read the arguments of a call.

    Args:
        call: What the model wrote.
        tool: The tool it named.
        names: Argument names as the model knows them -> the tool's own.
        store: What is visible from here.
        dialect: Says how pictures are named and coordinates written.
        shown: Size of the latest showing of a picture.

    Raises:
        ModelFault: `bad_args`, `bad_box`, `box_outside`, `bad_window` or `unknown_image`.
    """
    raw = _own_names(call, tool, names)
    out = Binding()
    for param in sorted(tool.spec.params, key=lambda p: p.of is not None):
        if param.name in raw:
            _bind_one(param, raw[param.name], out, store, dialect, shown)
    _lay_masks(tool, out, store)
    return out


def _lay_masks(tool: Tool, out: Binding, store: Store) -> None:
    """Carry masks to the picture or map of the call, or else to its first mask."""
    given = [p for p in tool.spec.params if p.name in out.media]
    below = [p for p in given if p.kind in (Kind.IMAGE, Kind.DEPTH)]
    masks = [p for p in given if p.kind is Kind.MASK]
    if not masks:
        return
    ground = out.media[(below or masks)[0].name]
    for param in masks:
        mask, of = out.values[param.name], out.media[param.name]
        assert isinstance(mask, Mask)
        out.values[param.name] = lay_mask(mask, of, ground, store, param.name)


def _own_names(call: ToolCall, tool: Tool, names: Mapping[str, str]) -> dict[str, Json]:
    known = {shown: own for shown, own in names.items() if tool.spec.param(own)}
    for name in call.arguments:
        if name not in known:
            raise ModelFault(
                FaultCode.BAD_ARGS,
                f"{call.name} has no argument {name!r}{nearest(name, known)}",
                hint=f"arguments: {', '.join(known)}",
                field=name,
            )
    raw = {known[name]: value for name, value in call.arguments.items()}
    for shown, own in known.items():
        param = tool.spec.param(own)
        if param and param.required and own not in raw:
            raise ModelFault(
                FaultCode.BAD_ARGS, f"{call.name} needs the argument {shown!r}", field=shown
            )
    return raw


def _bind_one(
    param: Param, raw: Json, out: Binding, store: Store, dialect: Dialect, shown: Shown
) -> None:
    if param.kind in MEDIA_KINDS:
        handle = dialect.picture(raw, store)
        _check_kind(param, handle, store)
        out.media[param.name], out.values[param.name] = handle, store[handle].value
    elif param.kind is Kind.IMAGES:
        _bind_images(param, raw, out, store, dialect)
    elif param.kind in VALUE_KINDS:
        handle = _value_handle(param, raw, store)
        out.media[param.name], out.values[param.name] = handle, store[handle].value
    elif param.kind in PLACE_KINDS or param.kind is Kind.SPAN:
        _bind_place(param, raw, out, store, dialect, shown)
    else:
        out.values[param.name] = out.plain[param.name] = plain_value(param, raw)


def _bind_images(param: Param, raw: Json, out: Binding, store: Store, dialect: Dialect) -> None:
    if not isinstance(raw, list) or not raw:
        raise _mistyped(param, "a list of pictures", raw)
    one = replace(param, kind=Kind.IMAGE)
    values: list[object] = []
    for i, row in enumerate(raw):
        handle = dialect.picture(row, store)
        _check_kind(one, handle, store)
        out.media[f"{param.name}[{i}]"] = handle
        values.append(store[handle].value)
    out.values[param.name] = values


def _check_kind(param: Param, handle: str, store: Store) -> None:
    if store[handle].kind != param.kind.value:
        raise ModelFault(
            FaultCode.UNKNOWN_IMAGE,
            f"{param.name!r} needs a {param.kind.value}, but this names a {store[handle].kind}",
            field=param.name,
        )


def _value_handle(param: Param, raw: Json, store: Store) -> str:
    if not isinstance(raw, str):
        raise _mistyped(
            param, f'the name of a {param.kind.value}, such as "{param.kind.value}_1"', raw
        )
    handle = raw.removeprefix("$")
    try:
        entry = store[handle]
    except StoreError:
        names = [e.handle for e in store if e.kind == param.kind.value]
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"no {param.kind.value} is called {raw!r}",
            hint=f"there is {', '.join(names)}" if names else "there is none yet",
            field=param.name,
        ) from None
    if entry.kind != param.kind.value:
        raise _mistyped(param, f"a {param.kind.value}", raw)
    return handle


def _bind_place(
    param: Param, raw: Json, out: Binding, store: Store, dialect: Dialect, shown: Shown
) -> None:
    handle = out.media.get(param.of or "")
    if handle is None:
        raise ModelFault(
            FaultCode.BAD_ARGS, f"{param.name!r} needs {param.of!r} to say where", field=param.name
        )
    many = param.kind in (Kind.BOXES, Kind.POINTS)
    rows = raw if many else [raw]
    if not isinstance(rows, list) or not rows:
        raise _mistyped(param, "a list of places", raw)
    shapes: list[Shape] = [_shape(param, row, handle, out, store, dialect, shown) for row in rows]
    out.values[param.name] = shapes if many else shapes[0]
    out.regions[param.name] = tuple(Region(handle, s) for s in shapes)


def _shape(
    param: Param,
    raw: Json,
    handle: str,
    out: Binding,
    store: Store,
    dialect: Dialect,
    shown: Shown,
) -> Shape:
    count = 4 if param.kind in (Kind.BOX, Kind.BOXES) else 2
    numbers = finite_numbers(param, raw, count)
    size = store.size(handle)
    assert size is not None
    # A map is never shown: its places are written as those of the picture it lies on.
    whole = store.to_picture(Region(handle, Box(0, 0, 1, 1)))
    seen = shown(whole.media if whole.shape == Box(0, 0, 1, 1) else handle)
    coords = dialect.coordinates
    try:
        if param.kind is Kind.SPAN:
            return Span(numbers[0], numbers[1])
        if count == 2:
            return coords.read_point(numbers, original=size, shown=seen)
        box = coords.read_box(numbers, original=size, shown=seen)
        out.clamped |= reaches_over(numbers, coords.scale(original=size, shown=seen), coords.order)
        return box
    except GeometryError as err:
        hint = None if param.kind is Kind.SPAN else f"coordinates are {coords.describe()}"
        raise ModelFault(err.code, str(err), hint=hint, field=param.name) from None


def reaches_over(raw: list[float], scale: tuple[float, float], order: str) -> bool:
    """Whether a box goes over the border, so that less than it will be used."""
    x1, y1, x2, y2 = raw
    if order == "xywh":
        x2, y2 = x1 + x2, y1 + y2
    return x1 < 0 or y1 < 0 or x2 > scale[0] or y2 > scale[1]


def finite_numbers(param: Param, raw: Json, count: int) -> list[float]:
    """A list of exactly `count` finite numbers, nothing coerced.

    Raises:
        ModelFault: `bad_args`.
    """
    if not isinstance(raw, list) or not are_numbers(raw) or not has_count(raw, count):
        raise _mistyped(param, f"a list of {count} finite numbers", raw)
    return [float(v) for v in raw if isinstance(v, int | float)]


def are_numbers(raw: list[Json]) -> bool:
    """Whether all are finite numbers; booleans, strings and lists are not."""
    return all(map(_is_number, raw))


def has_count(raw: list[Json], count: int) -> bool:
    """Whether there are exactly so many."""
    return len(raw) == count


def plain_value(param: Param, raw: Json) -> Json:
    """A string, number, boolean, or list of strings or numbers, nothing coerced.

    Raises:
        ModelFault: `bad_args`.
    """
    fits = {
        Kind.STRING: isinstance(raw, str),
        Kind.INTEGER: isinstance(raw, int) and not isinstance(raw, bool),
        Kind.NUMBER: _is_number(raw),
        Kind.NUMBERS: isinstance(raw, list) and are_numbers(raw),
        Kind.BOOLEAN: isinstance(raw, bool),
        Kind.STRINGS: isinstance(raw, list) and all(isinstance(v, str) for v in raw),
    }[param.kind]
    if not fits:
        expected = "a list of finite numbers" if param.kind is Kind.NUMBERS else None
        raise _mistyped(param, expected or f"{_article(param.kind.value)} {param.kind.value}", raw)
    if param.choices and raw not in param.choices:
        raise _mistyped(param, f"one of {', '.join(param.choices)}", raw)
    return raw


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _is_number(raw: object) -> bool:
    return isinstance(raw, int | float) and not isinstance(raw, bool) and _finite(raw)


def _finite(raw: int | float) -> bool:
    try:
        return math.isfinite(raw)
    except OverflowError:
        return False


def _mistyped(param: Param, expected: str, raw: object) -> ModelFault:
    came = repr(raw)
    came = came if len(came) <= 60 else came[:57] + "..."
    return ModelFault(
        FaultCode.BAD_ARGS, f"{param.name!r} needs {expected}, got {came}", field=param.name
    )
