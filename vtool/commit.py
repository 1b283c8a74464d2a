"""From what a tool gave back to the store and the record: handles, ways, places, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtool.binding import Binding
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Region
from vtool.media import Clip, Image
from vtool.message import Author, Fault, Found, Message, Outcome, Part, Role, Show, Text, ToolCall
from vtool.observation import Observation, Way
from vtool.store import Entry, Origin, Store, Tile, Value, value_digest
from vtool.tool import Tool
from vtool.workers.breaker import ToolBroken


@dataclass(frozen=True, slots=True)
class Done:
    """A finished call, not yet committed."""

    call: ToolCall
    binding: Binding | None = None
    tool: Tool | None = None
    observation: Observation | None = None
    fault: ModelFault | None = None
    seconds: float = 0.0
    cached: bool = False


def commit(done: Done, store: Store) -> Message:
    """Put the results of a call into the store, and say what came of it."""
    if done.fault is not None:
        return refusal(done.fault, done.call, done.seconds)
    assert done.observation is not None
    assert done.binding is not None
    assert done.tool is not None
    seen = done.observation
    ways = (*seen.ways, *((),) * (len(seen.values) - len(seen.ways)))
    entries = [
        store.add(value, _origin(way, done, store))
        for value, way in zip(seen.values, ways, strict=True)
    ]
    parts: list[Part] = [
        Show(e.handle) for e in entries if seen.show and isinstance(e.value, Image | Clip)
    ]
    named = [e.handle for e in entries if not isinstance(e.value, Image | Clip)]
    words = " ".join([*([seen.text] if seen.text else []), *(f"${h}" for h in named)])
    if words:
        parts.append(Text(words))
    outcome = Outcome(
        call=done.call,
        bound=done.binding.bound(done.call, done.tool),
        handles=tuple(e.handle for e in entries),
        seconds=done.seconds,
        cached=done.cached,
        effective=_effective(seen, done.binding),
        found=_found(seen, done.binding, entries, store),
    )
    return Message(role=Role.TOOL, parts=tuple(parts), author=Author.TOOL, outcomes=(outcome,))


def refusal(fault: ModelFault, call: ToolCall | None = None, seconds: float = 0.0) -> Message:
    """The tool message that tells a model what was wrong."""
    told = Fault(fault.code, fault.message, fault.hint, fault.field)
    return Message(
        role=Role.TOOL,
        parts=(Text(fault.to_json()),),
        author=Author.TOOL,
        outcomes=(Outcome(call=call, fault=told, seconds=seconds),),
    )


def no_room(made: int, room: int) -> ModelFault:
    """What a call is told whose pictures the episode has no room for."""
    return ModelFault(
        FaultCode.TOO_MANY_IMAGES,
        f"this episode has room for {room} more pictures, this call made {made}",
        hint="answer from what you have seen",
    )


def pictures(done: Done) -> int:
    """How many pictures a call made."""
    values = done.observation.values if done.observation is not None else ()
    return sum(isinstance(v, Image) for v in values)


def _origin(ways: tuple[Way, ...], done: Done, store: Store) -> Origin:
    """Where a result came from; ways are written on values, an origin names handles."""
    assert done.tool is not None
    assert done.binding is not None
    name, handles = done.tool.spec.name, list(done.binding.media.values())
    if done.tool.workspace_arg:  # it saw every picture
        handles += [e.handle for e in store.images() if e.handle not in handles]
    parents = [_handle(way.of, handles, store, name) for way in ways]
    tiles = tuple(
        Tile(way.cell, parent, way.transform)
        for way, parent in zip(ways, parents, strict=True)
        if way.cell is not None
    )
    if tiles:
        return Origin(parent=parents[0], tool=name, tiles=tiles)
    if ways:
        return Origin(parent=parents[0], tool=name, transform=ways[0].transform)
    return Origin(parent=next(iter(handles), None), tool=name)


def _found(
    seen: Observation, binding: Binding, made: Sequence[Entry], store: Store
) -> tuple[Found, ...]:
    handles = [*binding.media.values(), *(e.handle for e in made)]
    first = next(iter(binding.media.values()), None)
    if first is None and any(f.of is None for f in seen.found):
        raise ToolBroken("a tool that was given no picture found something in it")
    return tuple(
        Found(
            store.to_picture(
                Region(
                    _handle(f.of, handles, store, "of this call")
                    if f.of is not None
                    else str(first),
                    f.shape,
                )
            ),
            f.label,
            f.score,
            f.facts,
        )
        for f in seen.found
    )


def _handle(value: Value, handles: Sequence[str], store: Store, tool: str) -> str:
    """The entry meant: the very value first, since two pictures may have equal pixels."""
    for handle in handles:
        if store[handle].value is value:
            return handle
    digest = value_digest(value)
    for handle in handles:
        if store[handle].digest == digest:
            return handle
    raise ToolBroken(f"tool {tool} speaks of a value that it was neither given nor made")


def _effective(seen: Observation, binding: Binding) -> tuple[Region, ...]:
    asked = [r for regions in binding.regions.values() for r in regions]
    if seen.effective and asked:
        return tuple(Region(asked[0].media, shape) for shape in seen.effective)
    return tuple(asked) if binding.clamped else ()
