"""Making the sample calls of `tool_samples`: as they are, misspelt, on other pictures."""

import asyncio
from importlib.metadata import entry_points

import numpy as np
from tool_samples import SAMPLES, SETTINGS

from vtool.binding import bind
from vtool.dialects.hermes import Hermes
from vtool.media import Clip, Image
from vtool.message import ToolCall
from vtool.store import DepthMap, Store
from vtool.tool import choose, tools
from vtool.toolbox import Toolbox
from vtool.toolspec import Kind

NAMES = tuple(sorted({point.name for point in entry_points(group="vtool.tools")}))
"""Those that are published; tests make others."""


def chosen(name):
    """The tool under the settings of its sample."""
    return choose({name: SETTINGS.get(name, {})})


READY = tuple(n for n in NAMES if not chosen(n).lacks())
PLACES = (Kind.BOX, Kind.BOXES)


def params(*kinds):
    """(tool, argument) of those kinds, over every registered tool."""
    return [(n, p.name) for n in NAMES for p in tools.get(n).spec.params if p.kind in kinds]


def sample(name):
    """The sample call of a tool."""
    assert name in SAMPLES, (
        f"tool {name!r} has no sample call: add a row to SAMPLES in tests/support/tool_samples.py "
        f"(or to a file tool_samples_<room>.py beside it): a function that makes a store and the "
        "arguments as a model writes them"
    )
    return SAMPLES[name]()


def call(name, arguments, store, toolbox=None):
    """The tool message of one call."""
    box = toolbox or Toolbox([chosen(name)], cache=False)
    return asyncio.run(box.run([ToolCall(name, arguments)], store, Hermes(), store.size))[0]


def bound(name, arguments, store):
    """The arguments as the tool's function gets them."""
    tool = chosen(name)
    names = {p.name: p.name for p in tool.spec.params}
    return bind(ToolCall(name, arguments), tool, names, store, Hermes(), store.size).values


def fault_of(name, arguments, store):
    """The fault's code, or none; tools that cannot run here are only asked to read the call."""
    from vtool.errors import ModelFault

    if name in READY:
        fault = call(name, arguments, store).outcomes[0].fault
        return "none" if fault is None else str(fault.code)
    try:
        bound(name, arguments, store)
    except ModelFault as fault:
        return str(fault.code)
    return "none"


def misplaced(name, param, raw):
    """The code that comes of one place written so."""
    store, arguments = sample(name)
    many = tools.get(name).spec.param(param).kind in (Kind.BOXES, Kind.POINTS)
    return fault_of(name, {**arguments, param: [raw] if many else raw}, store)


def replaced(store, change):
    """The same store with changed values; `change` gets handle and value."""
    other = Store()
    for entry in store:
        other.add(change(entry.handle, entry.value), entry.origin)
    return other


def painted(value, rect):
    """The value with a block of whole pixels that stands out."""
    x0, y0, x1, y1 = rect
    if isinstance(value, Image):
        pixels = value.pixels.copy()
        pixels[y0:y1, x0:x1] = 255
        return Image(pixels)
    if isinstance(value, DepthMap):
        values = value.values.copy()
        near, far = np.percentile(values[value.valid], (2, 98))
        block = values[y0:y1, x0:x1]
        here = float(np.median(np.where(np.isfinite(block), block, near)))
        values[y0:y1, x0:x1] = near if abs(near - here) > abs(far - here) else far
        return DepthMap(values, value.metric, value.camera)
    raise AssertionError(f"no block can be painted on a {type(value).__name__}")


def resized(value, size):
    """Every picture at that size."""
    if isinstance(value, Image):
        return Image(value.resize(size).pixels.copy())
    if isinstance(value, Clip):
        return Clip(tuple(Image(f.resize(size).pixels.copy()) for f in value.frames), value.times_s)
    return value
