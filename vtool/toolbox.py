"""The Toolbox: runs a turn's calls, commits results in call order, turns faults into words.

The model's faults become typed observations. A tool that breaks is our fault: `ToolBroken` is
raised, which ends the episode as failed and masks it from the loss.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from vtool.binding import Binding, Shown, bind
from vtool.dialects.base import Dialect
from vtool.errors import FaultCode, ModelFault, UnknownName, VToolError, nearest
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.media import Clip, Image
from vtool.message import (
    Author,
    Fault,
    Found,
    Json,
    Message,
    Outcome,
    Part,
    Role,
    Show,
    Text,
    ToolCall,
)
from vtool.observation import Call, Observation, Way
from vtool.store import Cloud, DepthMap, Entry, Origin, Store, Table, Tile, value_digest
from vtool.tool import Tool, choose
from vtool.toolspec import ToolSpec
from vtool.workspace import Belongings, Lending, contract

_CACHE_ENTRIES = 1024


class ToolBroken(VToolError, RuntimeError):
    """A tool raised something that is no `ModelFault`, or returned what no tool may return."""


class ToolUnavailable(VToolError, RuntimeError):
    """A tool lacks its library, program or weights; the message holds how to get them."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tool under the names a model knows."""

    tool: Tool
    spec: ToolSpec
    names: dict[str, str]
    """Argument names as shown -> the tool's own."""


@dataclass(frozen=True, slots=True)
class _Done:
    """A finished call, not yet committed."""

    call: ToolCall
    binding: Binding | None = None
    tool: Tool | None = None
    observation: Observation | None = None
    fault: ModelFault | None = None
    seconds: float = 0.0
    cached: bool = False


class Toolbox:
    """The tools of a run.

    Args:
        chosen: Tools, names of registered ones, or `{name: settings}`.
        cache: Whether equal calls of pure tools share one result.
        seconds: A deadline that replaces each tool's own.
        forgiving: Answer a broken tool with a `tool_error` observation instead of raising; for
            interactive use, never for training.
    """

    def __init__(
        self,
        chosen: Sequence[Tool | str | Mapping[str, Any]],
        *,
        cache: bool = True,
        seconds: float | None = None,
        forgiving: bool = False,
    ) -> None:
        found = [choose(t) for t in chosen]
        check_ready(found)
        self._offers = {
            t.spec.name: _Offer(t, t.spec, {p.name: p.name for p in t.spec.params}) for t in found
        }
        if len(self._offers) != len(found):
            raise VToolError("two tools of a toolbox have one name")
        self._cache: OrderedDict[str, Observation] | None = OrderedDict() if cache else None
        self._seconds = seconds
        self._forgiving = forgiving

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told."""
        return tuple(o.spec for o in self._offers.values())

    @property
    def runtime(self) -> dict[str, Json]:
        """What an episode's record says of these tools, under their own names."""
        return contract(o.tool for o in self._offers.values())

    def only(self, names: Sequence[str]) -> Toolbox:
        """The same tools, less those not named.

        Raises:
            UnknownName: A name that is not in this toolbox.
        """
        for name in names:
            if name not in self._offers:
                raise UnknownName("tool", name, self._offers)
        return self._with({n: o for n, o in self._offers.items() if n in names})

    def view(self, seed: int) -> Toolbox:
        """The same tools under random names, seeded; results and caches stay shared.

        Source: adaptive learning of AdaReasoner (Tool-GRPO): random identifiers make a policy
        read descriptions instead of names.
        """
        rng = np.random.Generator(np.random.Philox(key=seed))
        offers = {}
        for offer in self._offers.values():
            words = iter(_words(rng, 1 + len(offer.spec.params)))
            name = f"tool_{next(words)}"
            renamed = {p.name: f"arg_{next(words)}" for p in offer.spec.params}
            params = tuple(
                replace(p, name=renamed[p.name], of=renamed.get(p.of or ""))
                for p in offer.spec.params
            )
            spec = replace(offer.spec, name=name, params=params)
            offers[name] = _Offer(offer.tool, spec, {v: k for k, v in renamed.items()})
        return self._with(offers)

    def changed(self, change: Callable[[Tool], Tool]) -> Toolbox:
        """The same offers with each tool changed (wrapped, controlled); results are not shared."""
        other = self._with({n: replace(o, tool=change(o.tool)) for n, o in self._offers.items()})
        other._cache = OrderedDict() if self._cache is not None else None
        return other

    async def run(
        self,
        calls: Sequence[ToolCall],
        store: Store,
        dialect: Dialect,
        shown: Shown,
        *,
        seed: int = 0,
        belongings: Belongings | None = None,
    ) -> list[Message]:
        """Run the calls of one turn at once; commit and answer in call order.

        Args:
            calls: What the model wrote, in order.
            store: Where results go.
            dialect: How the model writes pictures and places.
            shown: Size of the latest showing of a picture.
            seed: For tools that draw.
            belongings: What tools keep between turns; where left out, nothing outlives this one.

        Returns:
            One tool message a call.

        Raises:
            ToolBroken: A tool broke (unless forgiving).
        """
        lending = Lending(store, belongings)
        jobs = [
            self._one(call, i, store, dialect, shown, seed, lending) for i, call in enumerate(calls)
        ]
        try:
            done = await asyncio.gather(*jobs)
        finally:
            await lending.end()
        return [self._commit(d, store) for d in done]

    async def _one(
        self,
        call: ToolCall,
        index: int,
        store: Store,
        dialect: Dialect,
        shown: Shown,
        seed: int,
        lending: Lending,
    ) -> _Done:
        start = time.monotonic()
        binding: Binding | None = None
        try:
            check_parallel(index, dialect.max_parallel)
            offer = self._offer(call)
            binding = bind(call, offer.tool, offer.names, store, dialect, shown)
            async with lending.turn(offer.tool):
                observation, cached = await self._observe(
                    offer, binding, store, seed * 1009 + index, lending
                )
            seconds = time.monotonic() - start
            return _Done(call, binding, offer.tool, observation, None, seconds, cached)
        except ModelFault as fault:
            return _Done(call, binding, None, None, fault, time.monotonic() - start)

    def _offer(self, call: ToolCall) -> _Offer:
        if call.name not in self._offers:
            raise ModelFault(
                FaultCode.UNKNOWN_TOOL,
                f"there is no tool {call.name[:80]!r}{nearest(call.name[:80], self._offers)}",
                hint=f"tools: {', '.join(self._offers)}" if self._offers else "no tools here",
            )
        return self._offers[call.name]

    async def _observe(
        self, offer: _Offer, binding: Binding, store: Store, seed: int, lending: Lending
    ) -> tuple[Observation, bool]:
        spec = offer.tool.spec
        key = (
            _cache_key(offer.tool, binding, store)
            if self._cache is not None and spec.pure
            else None
        )
        if key is not None and self._cache is not None and key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key], True
        observation = await self._call(offer.tool, binding, seed, lending)
        if key is not None and self._cache is not None:
            self._cache[key] = observation
            while len(self._cache) > _CACHE_ENTRIES:
                self._cache.popitem(last=False)
        return observation, False

    async def _call(self, tool: Tool, binding: Binding, seed: int, lending: Lending) -> Observation:
        values = dict(binding.values)
        if tool.call_arg:
            values[tool.call_arg] = Call(seed, binding.regions)
        if tool.settings_arg:
            values[tool.settings_arg] = tool.settings
        seconds = self._seconds or tool.spec.seconds
        if tool.workspace_arg:
            values[tool.workspace_arg] = lending.workspace(seconds, seed)
        try:
            if inspect.iscoroutinefunction(tool.fn):
                got = await asyncio.wait_for(tool.fn(**values), seconds)
            else:
                got = await asyncio.wait_for(asyncio.to_thread(tool.fn, **values), seconds)
            return _observation(tool, got)
        except ModelFault:
            raise
        except TimeoutError:
            raise ModelFault(
                FaultCode.TIMEOUT, f"{tool.spec.name} did not finish within {seconds:g} s"
            ) from None
        except Exception as err:
            if self._forgiving:
                raise ModelFault(FaultCode.TOOL_ERROR, f"{tool.spec.name} broke") from err
            raise ToolBroken(f"tool {tool.spec.name} broke: {type(err).__name__}: {err}") from err

    def _commit(self, done: _Done, store: Store) -> Message:
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

    def _with(self, offers: dict[str, _Offer]) -> Toolbox:
        other = Toolbox((), seconds=self._seconds, forgiving=self._forgiving)
        other._offers, other._cache = offers, self._cache
        return other


def check_ready(chosen: Sequence[Tool]) -> None:
    """A tool that cannot run here is not offered: said at the start, not in the tenth episode.

    Raises:
        ToolUnavailable: Every tool that lacks something, and how to get it.
    """
    lines = [
        f"{tool.spec.name}: {lack.what} ({lack.fix})" for tool in chosen for lack in tool.lacks()
    ]
    if lines:
        raise ToolUnavailable("tools that cannot run here: " + "; ".join(lines))


def check_parallel(index: int, most: int) -> None:
    """A turn may hold so many calls; the rest are answered, not run.

    Raises:
        ModelFault: `too_many_calls`.
    """
    if index >= most:
        raise ModelFault(
            FaultCode.TOO_MANY_CALLS, f"at most {most} calls a turn; this one was not run"
        )


def refusal(fault: ModelFault, call: ToolCall | None = None, seconds: float = 0.0) -> Message:
    """The tool message that tells a model what was wrong."""
    told = Fault(fault.code, fault.message, fault.hint, fault.field)
    return Message(
        role=Role.TOOL,
        parts=(Text(fault.to_json()),),
        author=Author.TOOL,
        outcomes=(Outcome(call=call, fault=told, seconds=seconds),),
    )


def _observation(tool: Tool, got: object) -> Observation:
    if isinstance(got, Observation):
        return got
    if isinstance(got, str):
        return Observation(text=got)
    if isinstance(got, Image | Clip | Mask | DepthMap | Cloud | Table):
        return Observation(values=(got,))
    raise ToolBroken(
        f"tool {tool.spec.name} returned {type(got).__name__}; expected a store value, a str or "
        "an Observation"
    )


def _origin(ways: tuple[Way, ...], done: _Done, store: Store) -> Origin:
    """Where a result came from; ways are written on values, an origin names handles."""
    assert done.tool is not None
    assert done.binding is not None
    name, handles = done.tool.spec.name, list(done.binding.media.values())
    if done.tool.workspace_arg:  # it saw every picture
        handles += [e.handle for e in store.images() if e.handle not in handles]
    by_digest = {store[h].digest: h for h in handles}
    parents = [by_digest[value_digest(way.of)] for way in ways]
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
    handles = {store[h].digest: h for h in reversed(binding.media.values())}
    handles |= {e.digest: e.handle for e in made}
    first = next(iter(binding.media.values()), "")
    return tuple(
        Found(
            store.to_picture(
                Region(first if f.of is None else handles[value_digest(f.of)], f.shape)
            ),
            f.label,
            f.score,
            f.facts,
        )
        for f in seen.found
    )


def _effective(seen: Observation, binding: Binding) -> tuple[Region, ...]:
    asked = [r for regions in binding.regions.values() for r in regions]
    if seen.effective and asked:
        return tuple(Region(asked[0].media, shape) for shape in seen.effective)
    return tuple(asked) if binding.clamped else ()


def _cache_key(tool: Tool, binding: Binding, store: Store) -> str:
    places = {name: [_plain_shape(r) for r in regions] for name, regions in binding.regions.items()}
    media = {name: store[handle].digest for name, handle in binding.media.items()}
    settings = None if tool.settings is None else asdict(cast(Any, tool.settings))
    body = [tool.spec.name, tool.spec.version, media, places, binding.plain, settings]
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def _plain_shape(region: Region) -> list[float]:
    shape = region.shape
    if isinstance(shape, Box):
        return [shape.x1, shape.y1, shape.x2, shape.y2]
    if isinstance(shape, Point):
        return [shape.x, shape.y]
    assert isinstance(shape, Span)
    return [shape.start_s, shape.end_s]


def _words(rng: np.random.Generator, count: int) -> list[str]:
    letters = "bcdfghjklmnpqrstvwxz"
    seen: list[str] = []
    while len(seen) < count:
        word = "".join(letters[i] for i in rng.integers(0, len(letters), 5))
        if word not in seen:
            seen.append(word)
    return seen
