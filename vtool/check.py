"""Conformance checks, shipped: is this tool, environment or benchmark fit for the house?

Each raises `ConformanceError` with everything that is wrong, one line each. `check_renderer`
lives in its own room.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from vtool.benchmark import Benchmark
from vtool.dialects.base import Dialect
from vtool.environment import Environment, EnvironmentMaker
from vtool.errors import ForkRefused, ModelFault, VToolError
from vtool.geometry import Box, Convention, Point, Span
from vtool.media import Image
from vtool.message import Action
from vtool.record import Context
from vtool.store import value_digest
from vtool.task import Answer
from vtool.tool import Kind, Observation, Tool


class ConformanceError(VToolError, AssertionError):
    """What is wrong, one line each."""

    def __init__(self, what: str, faults: list[str]) -> None:
        super().__init__(f"{what} does not conform:\n" + "\n".join(f"- {f}" for f in faults))
        self.faults = faults


def check_tool(tool: Tool, arguments: Mapping[str, object] | None = None) -> None:
    """Whether a tool can be offered to models.

    Its schema is complete, it runs on a sample, equal calls of a pure tool give equal results,
    and it does not change what it is given.

    Args:
        tool: The tool.
        arguments: A sample call by argument name; made up from the spec where left out.

    Raises:
        ConformanceError: Lists every fault.
    """
    faults = [
        f"argument {p.name!r} has no description" for p in tool.spec.params if not p.description
    ]
    if not tool.spec.description:
        faults.append("it has no description")
    tool.spec.schema(Convention())
    sample = {**_sample(tool), **(arguments or {})}
    before = {k: v.digest for k, v in sample.items() if isinstance(v, Image)}
    try:
        first, second = _run(tool, sample), _run(tool, sample)
    except ModelFault as fault:
        raise ConformanceError(tool.spec.name, [*faults, f"refused a sample: {fault}"]) from None
    except Exception as err:
        raise ConformanceError(tool.spec.name, [*faults, f"broke on a sample: {err!r}"]) from err
    after = {k: Image(np.array(v.pixels)).digest for k, v in sample.items() if isinstance(v, Image)}
    if before != after:
        faults.append("it changed a picture that it was given")
    if tool.spec.pure and _essence(first) != _essence(second):
        faults.append("it calls itself pure, but equal calls gave different results")
    if faults:
        raise ConformanceError(f"tool {tool.spec.name}", faults)


def check_environment(make: EnvironmentMaker, dialect: Dialect) -> None:
    """Whether an environment keeps its promises.

    It resets once, refuses a reply before its beginning, shows only what is in its store, gives
    equal openings for equal seeds, survives a malformed turn, and forks or refuses.

    Raises:
        ConformanceError: Lists every fault.
    """
    asyncio.run(_check_environment(make, dialect))


async def _check_environment(make: EnvironmentMaker, dialect: Dialect) -> None:
    faults: list[str] = []
    env = make()
    junk = dialect.parse("neither a call nor an answer")
    if not await _raises(env, junk, dialect):
        faults.append("it answered before it was reset")
    env, other = make(), make()
    opening, again = await env.reset(), await other.reset()
    faults += [
        f"it shows {show.handle!r}, which is not in its store"
        for m in opening
        for show in m.shows
        if show.handle not in env.store
    ]
    if [m.text for m in opening] != [m.text for m in again]:
        faults.append("two environments of one seed began differently")
    try:
        await env.reset()
        faults.append("it was reset twice")
    except VToolError:
        pass
    faults += await _check_fork(other)
    await other.reply(junk, Context(0, "check", other.store), dialect)
    await env.close()
    if faults:
        raise ConformanceError("environment", faults)


async def _check_fork(env: Environment) -> list[str]:
    try:
        fork = await env.fork()
    except ForkRefused:
        return []
    before = len(env.store)
    fork.store.add(Image(np.zeros((2, 2, 3), np.uint8)))
    return [] if len(env.store) == before else ["a fork's store leaks into its parent"]


async def _raises(env: Environment, action: Action, dialect: Dialect) -> bool:
    try:
        await env.reply(action, Context(0, "check", env.store), dialect)
    except VToolError:
        return True
    return False


def check_benchmark(benchmark: Benchmark, root: Path, *, limit: int | None = None) -> int:
    """Whether a benchmark's files can be trusted.

    Ids are unique, evidence names a picture that is there, and the reference answer scores 1.

    Returns:
        How many tasks were checked.

    Raises:
        ConformanceError: Lists every fault.
    """
    faults: list[str] = []
    seen: set[str] = set()
    for task in islice(benchmark.read(root), limit):
        if task.id in seen:
            faults.append(f"{task.id}: the id stands twice")
        seen.add(task.id)
        if isinstance(task.reference, Answer):
            faults += [
                f"{task.id}: the reference {text!r} scores {score:g}, not 1"
                for text in task.reference.texts
                if (score := benchmark.score_answer(text, task)) != 1.0
            ]
        faults += [
            f"{task.id}: evidence on picture {e.image} of {len(task.media)}"
            for e in task.evidence
            if not 0 <= e.image < len(task.media)
        ]
    if not seen:
        faults.append(f"no task below {root}")
    if faults:
        raise ConformanceError(f"benchmark {benchmark.name}", faults)
    return len(seen)


def _sample(tool: Tool) -> dict[str, object]:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    made: dict[Kind, object] = {
        Kind.IMAGE: Image(noise),
        Kind.BOX: Box(0.25, 0.25, 0.75, 0.75),
        Kind.BOXES: [Box(0.25, 0.25, 0.75, 0.75)],
        Kind.POINT: Point(0.5, 0.5),
        Kind.POINTS: [Point(0.5, 0.5)],
        Kind.SPAN: Span(0.0, 1.0),
        Kind.STRING: "sample",
        Kind.STRINGS: ["sample"],
        Kind.INTEGER: 1,
        Kind.NUMBER: 1.0,
        Kind.NUMBERS: [0.0],
        Kind.BOOLEAN: True,
    }
    return {
        p.name: p.choices[0] if p.choices else made[p.kind]
        for p in tool.spec.params
        if p.required and p.kind in made
    }


def _run(tool: Tool, sample: Mapping[str, object]) -> object:
    got = tool(**sample)
    return asyncio.run(got) if inspect.iscoroutine(got) else got


def _essence(got: object) -> object:
    if isinstance(got, Observation):
        return (tuple(value_digest(v) for v in got.values), got.text, got.effective, got.found)
    return got if isinstance(got, str) else value_digest(got)  # type: ignore[arg-type]


__all__ = [
    "ConformanceError",
    "check_benchmark",
    "check_environment",
    "check_tool",
]
