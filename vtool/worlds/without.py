"""Controls: what is left of a world when its tools are off, blank, or speak of something else.

`off` offers no tool. `blank` lets every tool run and keeps nothing of what it tells: pictures and
frames are grey, masks and maps hold no information, words and findings are gone. `shuffled` lets
every tool work on the pictures of another question of the same file. A policy that answers from
what tools show falls to chance under each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import numpy as np

from vtool.geometry import Mask
from vtool.media import Clip, Image
from vtool.observation import Observation, ToolReturn
from vtool.store import DepthMap, Value
from vtool.task import Task
from vtool.tool import Tool
from vtool.toolbox import Toolbox
from vtool.video.source import Video

_GREY = 128


class Without(StrEnum):
    """What is taken away."""

    OFF = "off"
    BLANK = "blank"
    SHUFFLED = "shuffled"


def take_away(toolbox: Toolbox, control: Without, tasks: Sequence[Task], shift: int = 0) -> Toolbox:
    """The toolbox under a control.

    Args:
        toolbox: A world's tools.
        control: What is taken away.
        tasks: The questions that will be played; `shuffled` exchanges their pictures.
        shift: How many rows away the other question stands; half of the file where 0.
    """
    if control is Without.OFF:
        return toolbox.only(())
    if control is Without.BLANK:
        return toolbox.changed(lambda tool: _around(tool, lambda values: values, _blank))
    others = _others(tasks, shift or max(1, len(tasks) // 2))

    def swap(values: dict[str, Any]) -> dict[str, Any]:
        return {k: _other(v, others) for k, v in values.items()}

    return toolbox.changed(lambda tool: _around(tool, swap, _given_back))


def _around(
    tool: Tool,
    before: Callable[[dict[str, Any]], dict[str, Any]],
    after: Callable[[Observation, dict[str, Any], dict[str, Any]], Observation],
) -> Tool:
    """The tool with its arguments and its result changed; faults of the call pass unchanged."""
    fn = tool.fn

    @wraps(fn)
    def call(**values: Any) -> Observation:
        used = before(values)
        return after(_observed(fn(**used)), values, used)

    @wraps(fn)
    async def waiting(**values: Any) -> Observation:
        used = before(values)
        return after(_observed(await fn(**used)), values, used)

    return replace(tool, fn=waiting if iscoroutinefunction(fn) else call)


def _observed(result: ToolReturn) -> Observation:
    if isinstance(result, Observation):
        return result
    return Observation(text=result) if isinstance(result, str) else Observation((result,))


def _blank(seen: Observation, values: dict[str, Any], used: dict[str, Any]) -> Observation:
    return Observation(tuple(_grey(v) for v in seen.values), show=seen.show)


def _grey(value: Value) -> Value:
    """A value of the same kind and size that tells nothing.

    Raises:
        TypeError: None is known for values of this kind.
    """
    if isinstance(value, Image):
        return Image(np.full_like(value.pixels, _GREY))
    if isinstance(value, Clip):
        grey = Image(np.full_like(value.frames[0].pixels, _GREY))
        return Clip((grey,) * len(value.frames), value.times_s)
    if isinstance(value, Mask):
        return Mask(np.ones_like(value.cells))
    if isinstance(value, DepthMap):
        return DepthMap(np.ones_like(value.values))
    raise TypeError(f"no blank is known for a {type(value).__name__}")


def _others(tasks: Sequence[Task], shift: int) -> dict[str, Image | Video]:
    """What stands in for each picture or video: the one at its place in another question."""
    found: dict[str, Image | Video] = {}
    for number, task in enumerate(tasks):
        other = tasks[(number + shift) % len(tasks)]
        mine, theirs = _seen(task), _seen(other)
        found.update({a.digest: b for a, b in zip(mine, theirs, strict=False)})
    return found


def _seen(task: Task) -> list[Image | Video]:
    return [m for m in task.media if isinstance(m, Image | Video)]


def _other(value: Any, others: dict[str, Image | Video]) -> Any:
    return others.get(value.digest, value) if isinstance(value, Image | Video) else value


def _given_back(seen: Observation, values: dict[str, Any], used: dict[str, Any]) -> Observation:
    """The result as if it were of what was given; no way leads back from it."""
    mine = {id(used[k]): values[k] for k in values}
    found = tuple(replace(f, of=mine.get(id(f.of), f.of)) for f in seen.found)
    plain = tuple(Image(v.pixels) if isinstance(v, Image) else v for v in seen.values)
    fresh = {id(old): new for old, new in zip(seen.values, plain, strict=True)}
    found = tuple(replace(f, of=fresh.get(id(f.of), f.of)) for f in found)
    return replace(seen, values=plain, found=found, ways=(), effective=())
