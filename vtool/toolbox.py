"""The Toolbox: runs a turn's calls, commits results in call order, turns faults into words.

The model's faults become typed observations. A tool that breaks is our fault: `ToolBroken` is
raised, which ends the episode as failed and masks it from the loss; the turn's other calls are
stopped. How one call is carried out is the matter of `vtool.workers`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from vtool.binding import Binding, Shown, bind
from vtool.commit import Done, commit, no_room, pictures, refusal
from vtool.dialects.base import Dialect
from vtool.errors import FaultCode, ModelFault, UnknownName, VToolError, nearest
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.message import (
    Json,
    Message,
    ToolCall,
)
from vtool.observation import Call, Observation
from vtool.store import Store, value_digest
from vtool.tool import Tool, choose
from vtool.toolspec import ToolSpec
from vtool.workers.breaker import ToolBroken, ToolDown
from vtool.workers.pool import Workers
from vtool.workers.reference import NotImportable, reference
from vtool.workers.results import ResultCache
from vtool.workers.runner import Runner, clip_text, together
from vtool.workers.threads import THREADS
from vtool.workspace import Belongings, Lending, contract

__all__ = [
    "ToolBroken",
    "ToolDown",
    "ToolUnavailable",
    "Toolbox",
    "check_parallel",
    "check_ready",
    "refusal",
]

WORLD = "world:"
"""Before the name of a world, in place of a tool: all tools that it brings."""
MAX_TEXT_BYTES = 8192
"""Of one result's words. No tokenizer that starts from bytes makes more tokens than bytes."""


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
class _Turn:
    """What the calls of a turn have in common."""

    store: Store
    dialect: Dialect
    shown: Shown
    seed: int
    lending: Lending


class Toolbox:
    """The tools of a run.

    Args:
        chosen: Tools, names of registered ones, or `{name: settings}`.
        cache: Whether equal calls of pure tools share one result.
        seconds: A deadline that replaces each tool's own.
        forgiving: Answer a broken tool with a `tool_error` observation instead of raising; for
            interactive use, never for training.
        cache_bytes: Bound on the results that are kept.
        max_text_bytes: Bound on the words of one result.
        workers: Where isolated tools run; processes of this toolbox by default.
    """

    def __init__(
        self,
        chosen: Sequence[Tool | str | Mapping[str, Any]],
        *,
        cache: bool = True,
        seconds: float | None = None,
        forgiving: bool = False,
        cache_bytes: int = 256 * 2**20,
        max_text_bytes: int = MAX_TEXT_BYTES,
        workers: Workers | None = None,
    ) -> None:
        found = [tool for what in chosen for tool in _tools(what)]
        check_ready(found)
        self._offers = {
            t.spec.name: _Offer(t, t.spec, {p.name: p.name for p in t.spec.params}) for t in found
        }
        if len(self._offers) != len(found):
            raise VToolError("two tools of a toolbox have one name")
        self._cache = ResultCache(cache_bytes) if cache else None
        self._runner = Runner(seconds=seconds, forgiving=forgiving, workers=workers)
        self._max_text_bytes = max_text_bytes

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told."""
        return tuple(o.spec for o in self._offers.values())

    @property
    def hung(self) -> dict[str, int]:
        """Calls that passed their deadline in a thread and still run there, by tool."""
        return THREADS.hung

    async def close(self) -> None:
        """End worker processes and connections; views share them.

        A later call would start them again.
        """
        await self._runner.close()
        for held in {id(h): h for h in (o.tool.holds for o in self._offers.values()) if h}.values():
            await asyncio.to_thread(held.close)

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

    def view(
        self,
        seed: int,
        wordings: Mapping[str, Sequence[str]] | None = None,
        words: Sequence[str] | None = None,
    ) -> Toolbox:
        """The same tools under random names, seeded; results and caches stay shared.

        Args:
            seed: Of names and choices.
            wordings: Other descriptions by tool; one of them, or the tool's own, is drawn.
            words: What tools and arguments may be called; random letters if left out.

        Raises:
            UnknownName: A wording for a tool that is not in this toolbox.
            VToolError: There are fewer different words than names.

        Source: adaptive learning of AdaReasoner (Tool-GRPO): random identifiers make a policy
        read descriptions instead of names.
        """
        rng = np.random.Generator(np.random.Philox(key=seed))
        for name in wordings or {}:
            if name not in self._offers:
                raise UnknownName("tool", name, self._offers)
        # All names in one draw: drawn one by one, two tools could get the same.
        names = _names(rng, [o.spec for o in self._offers.values()], words)
        offers = {}
        for own, offer in self._offers.items():
            said = (offer.spec.description, *(wordings or {}).get(own, ()))
            name, *inner = names[own]
            renamed = {p.name: n for p, n in zip(offer.spec.params, inner, strict=True)}
            params = tuple(
                replace(p, name=renamed[p.name], of=renamed.get(p.of or ""))
                for p in offer.spec.params
            )
            about = said[int(rng.integers(len(said)))] if len(said) > 1 else said[0]
            spec = replace(offer.spec, name=name, description=about, params=params)
            offers[name] = _Offer(offer.tool, spec, {v: k for k, v in renamed.items()})
        return self._with(offers)

    def changed(self, change: Callable[[Tool], Tool]) -> Toolbox:
        """The same offers with each tool changed (wrapped, controlled); results are not shared."""
        other = self._with({n: replace(o, tool=change(o.tool)) for n, o in self._offers.items()})
        other._cache = ResultCache(self._cache.max_bytes) if self._cache is not None else None
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
        room: int | None = None,
    ) -> list[Message]:
        """Run the calls of one turn at once; commit and answer in call order.

        Args:
            calls: What the model wrote, in order.
            store: Where results go.
            dialect: How the model writes pictures and places.
            shown: Size of the latest showing of a picture.
            seed: For tools that draw.
            belongings: What tools keep between turns; where left out, nothing outlives this one.
            room: How many pictures may be added; a call that would make more is answered by
                `too_many_images` and leaves nothing.

        Returns:
            One tool message a call.

        Raises:
            ToolBroken: A tool broke (unless forgiving); the other calls were stopped.
        """
        lending = Lending(store, belongings)
        turn = _Turn(store, dialect, shown, seed, lending)
        try:
            done = await together([self._one(call, i, turn) for i, call in enumerate(calls)])
        finally:
            await lending.end()
        said = []
        for one in done:
            made = pictures(one)
            if room is not None and made > room:
                said.append(refusal(no_room(made, room), one.call, one.seconds))
                continue
            room = None if room is None else room - made
            said.append(commit(one, store))
        return said

    async def _one(self, call: ToolCall, index: int, turn: _Turn) -> Done:
        start = time.monotonic()
        binding: Binding | None = None
        offer: _Offer | None = None
        try:
            check_parallel(index, turn.dialect.max_parallel)
            offer = self._offer(call)
            binding = bind(call, offer.tool, offer.names, turn.store, turn.dialect, turn.shown)
            seed = turn.seed * 1009 + index
            async with turn.lending.turn(offer.tool):
                observation, cached = await self._observe(offer.tool, binding, turn, seed)
            seconds = time.monotonic() - start
            return Done(call, binding, offer.tool, observation, None, seconds, cached)
        except ModelFault as fault:
            told = fault if offer is None else _as_shown(fault, offer)
            return Done(call, binding, None, None, told, time.monotonic() - start)

    def _offer(self, call: ToolCall) -> _Offer:
        if call.name not in self._offers:
            raise ModelFault(
                FaultCode.UNKNOWN_TOOL,
                f"there is no tool {call.name[:80]!r}{nearest(call.name[:80], self._offers)}",
                hint=f"tools: {', '.join(self._offers)}" if self._offers else "no tools here",
            )
        return self._offers[call.name]

    async def _observe(
        self, tool: Tool, binding: Binding, turn: _Turn, seed: int
    ) -> tuple[Observation, bool]:
        if self._cache is None or not tool.spec.pure:
            return await self._call(tool, binding, turn, seed), False
        key = _cache_key(tool, binding, turn.store, seed)
        return await self._cache.get(key, lambda: self._call(tool, binding, turn, seed))

    async def _call(self, tool: Tool, binding: Binding, turn: _Turn, seed: int) -> Observation:
        values = dict(binding.values)
        if tool.call_arg:
            values[tool.call_arg] = Call(seed, binding.regions)
        if tool.settings_arg:
            values[tool.settings_arg] = tool.settings
        if tool.workspace_arg:
            seconds = self._runner.deadline(tool)
            values[tool.workspace_arg] = turn.lending.workspace(seconds, seed)
        seen = await self._runner.run(tool, values)
        return replace(seen, text=clip_text(seen.text, self._max_text_bytes))

    def _with(self, offers: dict[str, _Offer]) -> Toolbox:
        other = Toolbox((), max_text_bytes=self._max_text_bytes)
        other._offers, other._cache, other._runner = offers, self._cache, self._runner
        return other


def _as_shown(fault: ModelFault, offer: _Offer) -> ModelFault:
    """A fault in the names that the model knows: a view hides the tool's own."""
    shown = {own: name for name, own in offer.names.items()}
    shown[offer.tool.spec.name] = offer.spec.name
    if all(own == name for own, name in shown.items()):
        return fault

    def told(text: str | None) -> str | None:
        # Only what is quoted is a name: "box" is a word of the language too.
        return text and re.sub(
            r"(['\"`])(\w+)(?=[\[.\w\]]*\1)",
            lambda m: m[1] + shown.get(m[2], m[2]),
            text,
        )

    field = fault.field and re.sub(r"^\w+", lambda m: shown.get(m[0], m[0]), fault.field)
    return ModelFault(fault.code, told(fault.message) or "", hint=told(fault.hint), field=field)


def _tools(what: Tool | str | Mapping[str, Any]) -> list[Tool]:
    """The tools of one entry: a server's under `mcp`, those of a world under `world:NAME`."""
    if isinstance(what, Mapping) and set(what) == {"mcp"} and isinstance(what["mcp"], Mapping):
        from vtool.mcp_client import mcp_tools

        return mcp_tools(**what["mcp"])
    if isinstance(what, str) and what.startswith(WORLD):
        from vtool.worlds.world import worlds

        return [choose(one) for one in worlds.get(what.removeprefix(WORLD)).tools]
    return [choose(what)]


def check_ready(chosen: Sequence[Tool]) -> None:
    """A tool that cannot run here is not offered: said at the start, not in the tenth episode.

    Raises:
        ToolUnavailable: Every tool that lacks something, and how to get it.
    """
    lines = [
        f"{tool.spec.name}: {lack.what} ({lack.fix})" for tool in chosen for lack in tool.lacks()
    ]
    for tool in chosen:
        try:
            _ = tool.spec.isolated and reference(tool)
        except NotImportable as err:
            lines.append(str(err))
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


def _cache_key(tool: Tool, binding: Binding, store: Store, seed: int) -> str:
    places = {name: [_plain_shape(r) for r in regions] for name, regions in binding.regions.items()}
    media = {name: store[handle].digest for name, handle in binding.media.items()}
    # A mask may have been carried from another picture: what the tool gets counts.
    media |= {n: value_digest(v) for n, v in binding.values.items() if isinstance(v, Mask)}
    settings = None if tool.settings is None else asdict(cast(Any, tool.settings))
    # A tool that is told the seed may give another result under another one.
    drawn = seed if tool.call_arg else None
    body = [tool.spec.name, tool.spec.version, media, places, binding.plain, settings, drawn]
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def _plain_shape(region: Region) -> list[float]:
    shape = region.shape
    if isinstance(shape, Box):
        return [shape.x1, shape.y1, shape.x2, shape.y2]
    if isinstance(shape, Point):
        return [shape.x, shape.y]
    assert isinstance(shape, Span)
    return [shape.start_s, shape.end_s]


def _names(
    rng: np.random.Generator, specs: Sequence[ToolSpec], words: Sequence[str] | None
) -> dict[str, list[str]]:
    """New names by a tool's own: its own first, then those of its arguments."""
    if words is None:
        names = _words(rng, len(specs))
        return {
            s.name: [f"tool_{n}", *(f"arg_{w}" for w in _words(rng, len(s.params)))]
            for s, n in zip(specs, names, strict=True)
        }
    different, needed = list(dict.fromkeys(words)), sum(1 + len(s.params) for s in specs)
    if len(different) < needed:
        raise VToolError(
            f"{needed} names are needed for these tools and their arguments, got "
            f"{len(different)} different words"
        )
    drawn = iter([different[int(i)] for i in rng.permutation(len(different))])
    return {s.name: [next(drawn) for _ in range(1 + len(s.params))] for s in specs}


def _words(rng: np.random.Generator, count: int) -> list[str]:
    letters = "bcdfghjklmnpqrstvwxz"
    seen: list[str] = []
    while len(seen) < count:
        word = "".join(letters[i] for i in rng.integers(0, len(letters), 5))
        if word not in seen:
            seen.append(word)
    return seen
