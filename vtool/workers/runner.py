"""Carries out one call: its deadline, how many may run at once, and whose fault it is.

Functions run on daemon threads, coroutines in the loop, isolated tools in worker processes. What
a tool gives back is checked here, before anybody commits it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Span
from vtool.media import Clip, Image
from vtool.observation import Finding, Observation, Way
from vtool.store import Cloud, DepthMap, Table
from vtool.tool import Tool
from vtool.workers.breaker import Breaker, ToolBroken
from vtool.workers.gate import Gate
from vtool.workers.pool import Workers
from vtool.workers.threads import THREADS

_GATES: dict[tuple[str, int], Gate] = {}
T = TypeVar("T")
_VALUES = (Image, Clip, Mask, DepthMap, Cloud, Table)


class Runner:
    """Runs calls for a toolbox and all its views.

    Args:
        seconds: A deadline that replaces each tool's own.
        forgiving: Answer a broken tool with `tool_error` instead of raising.
        workers: Where isolated tools run.
        breaker: Counts crashes in a row.
    """

    def __init__(
        self,
        *,
        seconds: float | None = None,
        forgiving: bool = False,
        workers: Workers | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.seconds, self.forgiving = seconds, forgiving
        self.workers = Workers() if workers is None else workers
        self.breaker = breaker or Breaker()

    def deadline(self, tool: Tool) -> float:
        """Seconds that a call of this tool has."""
        return self.seconds or tool.spec.seconds

    async def run(self, tool: Tool, values: Mapping[str, Any]) -> Observation:
        """Carry out a call.

        Args:
            tool: What is called.
            values: All arguments of its function.

        Raises:
            ModelFault: The tool refused; or `timeout`, `tool_crashed`; `tool_error` if forgiving.
            ToolBroken: The tool broke: our fault. `ToolDown` when it does so all the time.
        """
        name = tool.spec.name
        self.breaker.check(name)
        try:
            seen = check_result(tool, await self._start(tool, values))
        except ModelFault as fault:
            if fault.code is not FaultCode.TOOL_CRASHED:
                raise
            self._count(name, f"{fault} ({fault.__cause__})")
            raise
        except Exception as err:
            why = str(err) if isinstance(err, ToolBroken) else f"{type(err).__name__}: {err}"
            if self.forgiving:
                raise ModelFault(FaultCode.TOOL_ERROR, f"{name} broke") from err
            self._count(name, why)
            if isinstance(err, ToolBroken):
                raise
            raise ToolBroken(f"tool {name} broke: {why}") from err
        self.breaker.worked(name)
        return seen

    async def close(self) -> None:
        """End the worker processes."""
        await self.workers.close()

    def _count(self, name: str, why: str) -> None:
        if not self.forgiving:
            self.breaker.crashed(name, why)

    async def _start(self, tool: Tool, values: Mapping[str, Any]) -> object:
        seconds = self.deadline(tool)
        if self.workers.takes(tool):
            return await self.workers.call(tool, values, seconds)
        gate = gate_of(tool)
        left = gate.leave if gate is not None else _nothing
        if gate is not None:
            await pass_gate(gate, tool, seconds)
        if inspect.iscoroutinefunction(tool.fn):
            try:
                return await within(seconds, tool, tool.fn(**values))
            finally:
                left()
        try:
            await THREADS.enter()
        except BaseException:
            left()
            raise
        # The place is given back when the function has really ended, not when nobody waits.
        work = functools.partial(tool.fn, **values)
        return await within(seconds, tool, THREADS.run(tool.spec.name, work, left))


async def pass_gate(gate: Gate, tool: Tool, patience: float) -> None:
    """Wait for one of the tool's places; waiting does not count towards the deadline.

    Raises:
        ToolBroken: All of them are held by calls that never ended.
    """
    entering = asyncio.ensure_future(gate.enter())
    try:
        while not (await asyncio.wait({entering}, timeout=patience))[0]:
            hung = THREADS.hung.get(tool.spec.name, 0)
            if hung >= tool.spec.concurrency:
                raise ToolBroken(
                    f"{hung} calls of tool {tool.spec.name} never ended and hold all its places: "
                    "declare it with @tool(isolated=True), so that they can be killed"
                )
    finally:
        if not entering.done():
            entering.cancel()


async def within(seconds: float, tool: Tool, going: Any) -> object:
    """Wait for a call until its deadline.

    Raises:
        ModelFault: `timeout`; a `TimeoutError` of the tool's own passes as it is.
    """
    try:
        async with asyncio.timeout(seconds) as clock:
            return await going
    except TimeoutError:
        if not clock.expired():
            raise
        raise ModelFault(
            FaultCode.TIMEOUT, f"{tool.spec.name} did not finish within {seconds:g} s"
        ) from None


def gate_of(tool: Tool) -> Gate | None:
    """What lets only so many calls of a tool run at once, in the whole process."""
    room = tool.spec.concurrency
    if room <= 0:
        return None
    return _GATES.setdefault((tool.spec.name, room), Gate(room))


def check_result(tool: Tool, got: object) -> Observation:
    """What a tool gave back, as an observation.

    Raises:
        ToolBroken: It is nothing that a tool may give back.
    """
    name = tool.spec.name
    if isinstance(got, str):
        return Observation(text=got)
    if isinstance(got, _VALUES):
        return Observation(values=(got,))
    if not isinstance(got, Observation):
        raise ToolBroken(
            f"tool {name} returned {type(got).__name__}; expected a store value, a str or an "
            "Observation"
        )
    wrong = [type(v).__name__ for v in got.values if not isinstance(v, _VALUES)]
    wrong += [type(f).__name__ for f in got.found if not _is_finding(f)]
    wrong += [type(s).__name__ for s in got.effective if not isinstance(s, Box | Point | Span)]
    wrong += [type(w).__name__ for ways in got.ways for w in ways if not isinstance(w, Way)]
    if wrong or not isinstance(got.text, str) or len(got.ways) > len(got.values):
        raise ToolBroken(
            f"tool {name} returned an Observation that does not fit: {', '.join(wrong) or 'text'}"
        )
    return got


async def together(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all; when one raises, the others are stopped and it is raised itself."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def clip_text(text: str, limit: int) -> str:
    """Words of at most so many bytes of UTF-8; what is cut is said at the start and at the end."""
    data = text.encode("utf-8", errors="replace")
    if len(data) <= limit:
        return text
    first = f"[cut: {len(text)} characters, their beginning and end follow]\n"
    last = "\n[end of the cut text]"
    room = max(0, limit - len(first) - len(last) - 48)
    head = data[: room * 3 // 4].decode("utf-8", errors="ignore")
    tail = data[len(data) - room // 4 :].decode("utf-8", errors="ignore")
    gone = len(text) - len(head) - len(tail)
    return f"{first}{head}\n[... {gone} characters left out ...]\n{tail}{last}"


def _is_finding(thing: object) -> bool:
    if not isinstance(thing, Finding):
        return False
    score = thing.score
    return score is None or (isinstance(score, int | float) and math.isfinite(score))


def _nothing() -> None:
    """Nobody is let in by this."""
