"""Controls: what is left of an accuracy when the tool, its picture or its place is taken away.

A control changes the toolbox and nothing else, so that the policy, its prompt and the questions
are those of the real run. A policy that truly looks must fall to chance under `off` and `blank`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any, TypeAlias

import numpy as np

from vtool.geometry import Box, Size
from vtool.media import Clip, Image
from vtool.registry import Registry
from vtool.tool import Kind, Observation, Tool, ToolSpec
from vtool.toolbox import Toolbox

ShownSize: TypeAlias = Callable[[Size], Size]
"""Size at which a family shows a picture of a given size."""

Control: TypeAlias = Callable[[Toolbox, ShownSize], Toolbox]

controls: Registry[Control] = Registry("control")

_GREY = 128


def off(toolbox: Toolbox, shown_size: ShownSize) -> Toolbox:
    """No tool at all: the policy has the first look and nothing else."""
    return toolbox.only(())


def blank(toolbox: Toolbox, shown_size: ShownSize) -> Toolbox:
    """Every picture and frame that a tool makes is grey; sizes, times and words are kept."""
    return toolbox.changed(_blank_results)


def overview(toolbox: Toolbox, shown_size: ShownSize) -> Toolbox:
    """Tools work on the picture as the model saw it, blown up again: no new detail."""
    return toolbox.changed(lambda tool: _before(tool, lambda a, s: _blur(a, s, shown_size)))


def random_box(toolbox: Toolbox, shown_size: ShownSize) -> Toolbox:
    """Boxes keep their size and land anywhere in the picture, by a hash of what was asked."""
    return toolbox.changed(lambda tool: _before(tool, _scatter))


for _name, _control in (
    ("off", off),
    ("blank", blank),
    ("overview", overview),
    ("random_box", random_box),
):
    controls.add(_name, _control)


def _blank_results(tool: Tool) -> Tool:
    fn = tool.fn

    if iscoroutinefunction(fn):

        @wraps(fn)
        async def waiting(**values: Any) -> object:
            return _grey(await fn(**values))

        return replace(tool, fn=waiting)

    @wraps(fn)
    def plain(**values: Any) -> object:
        return _grey(fn(**values))

    return replace(tool, fn=plain)


def _grey(result: object) -> object:
    if isinstance(result, Image):
        # Without lineage: grey pixels are no view of the picture that a trace could make again.
        return Image(np.full_like(result.pixels, _GREY))
    if isinstance(result, Clip):
        grey = Image(np.full_like(result.frames[0].pixels, _GREY))
        return Clip((grey,) * len(result.frames), result.times_s)
    if isinstance(result, Observation):
        values = tuple(_grey(v) if isinstance(v, Image | Clip) else v for v in result.values)
        return replace(result, values=values)  # type: ignore[arg-type]
    return result


def _before(tool: Tool, change: Callable[[dict[str, Any], ToolSpec], dict[str, Any]]) -> Tool:
    """The tool, with its arguments changed before it runs."""
    fn, names = tool.fn, tuple(signature(tool.fn).parameters)

    def call(*args: Any, **values: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **values}
        return fn(**change(given, tool.spec))

    if not iscoroutinefunction(fn):
        return replace(tool, fn=wraps(fn)(call))

    @wraps(fn)
    async def waiting(*args: Any, **values: Any) -> Any:
        return await call(*args, **values)

    return replace(tool, fn=waiting)


def _blur(values: dict[str, Any], spec: ToolSpec, shown_size: ShownSize) -> dict[str, Any]:
    def through(image: Image) -> Image:
        return image.resize(shown_size(image.size)).resize(image.size)

    pictures = {p.name for p in spec.params if p.kind is Kind.IMAGE}
    return {
        k: through(v) if k in pictures and isinstance(v, Image) else v for k, v in values.items()
    }


def _scatter(values: dict[str, Any], spec: ToolSpec) -> dict[str, Any]:
    out = dict(values)
    for param in spec.params:
        box = values.get(param.name)
        if param.kind is Kind.BOX and isinstance(box, Box):
            picture = values.get(param.of or "")
            out[param.name] = _elsewhere(box, picture.digest if isinstance(picture, Image) else "")
    return out


def _elsewhere(box: Box, digest: str) -> Box:
    """A box of the same size anywhere, a function of the picture and of what was asked."""
    words = np.array([box.x1, box.y1, box.x2, box.y2], np.float64).view(np.uint32)
    seed = [int(digest[:8] or "0", 16), *(int(w) for w in words)]
    x, y = np.random.default_rng(seed).random(2)
    width, height = box.x2 - box.x1, box.y2 - box.y1
    x1, y1 = float(x) * (1 - width), float(y) * (1 - height)
    return Box(x1, y1, min(1.0, x1 + width), min(1.0, y1 + height))
