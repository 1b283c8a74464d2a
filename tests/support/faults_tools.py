"""Group B of the fault catalogue through every registered tool that takes a box.

Each case makes the sample call of every such tool with the bad box in its place, and gives the
code that all of them answered, or what each answered where they differ. Tools that cannot run
here are asked to read the call, which is where boxes are refused.
"""

import json
import math

import numpy as np
from tool_calls import PLACES, READY, call, fault_of, params, replaced, resized, sample

from vtool.dialects.hermes import Hermes
from vtool.media import Image
from vtool.tool import tools
from vtool.toolbox import ToolBroken
from vtool.toolspec import Kind

BOXED = params(*PLACES)
PICTURED = params(Kind.IMAGE, Kind.IMAGES, Kind.CLIP)


def written(name, param, raw):
    """A place as the argument takes it: alone, or the last of a list."""
    if tools.get(name).spec.param(param).kind is Kind.BOXES:
        return [[100, 100, 900, 900], raw]
    return [raw] if tools.get(name).spec.param(param).kind is Kind.IMAGES else raw


def code(name, param, raw):
    store, arguments = sample(name)
    try:
        return fault_of(name, {**arguments, param: written(name, param, raw)}, store)
    except ToolBroken:
        return "tool_broke"


def agreed(codes):
    """The one code, or all of them by tool."""
    return next(iter(codes.values())) if len(set(codes.values())) == 1 else str(codes)


def through_all(raws, arguments=BOXED):
    return agreed({f"{n}.{p} {raw}": code(n, p, raw) for n, p in arguments for raw in raws})


def b1():
    return through_all([[600, 100, 200, 500], [100, 600, 500, 200]])


def b2():
    return through_all([[200, 100, 200, 500], [100, 200, 500, 200]])


def b3():
    return through_all([[1100, 100, 1300, 500], [100, -300, 500, -1]])


def b4():
    return agreed({n: clamped_and_told(n, p, [500, 500, 1200, 900]) for n, p in BOXED})


def b5():
    bad = ["0", None, True, [0], math.nan, math.inf]
    return through_all([*([raw, 0, 500, 500] for raw in bad), "0,0,500,500", None])


def b6():
    return through_all([[0, 0, 500], [0, 0, 500, 500, 1], []])


def b7():
    return agreed({n: clamped_and_told(n, p, [500, 500, 10**9, 900]) for n, p in BOXED})


def b10():
    return agreed({n: hinted(n, p) for n, p in BOXED if n in READY})


def b12():
    return through_all([99, "1"], PICTURED)


def newest_picture(self, name, store):
    """What a careless dialect does with a picture that is not there: it takes the newest."""
    return store.images()[-1].handle


def clamped_and_told(name, param, raw):
    """Whether the box that was really used is told to the model, in its own coordinates."""
    if name not in READY:
        return "told" if code(name, param, raw) == "none" else "refused"
    store, arguments = sample(name)
    many = tools.get(name).spec.param(param).kind is Kind.BOXES
    try:
        message = call(name, {**arguments, param: [raw] if many else raw}, store)
    except ToolBroken:
        return "tool_broke"
    words = "".join(getattr(p, "text", "") for p in Hermes().observe([message], store))
    return "told" if "[500, 500, 1000, 900]" in words else "not told"


def hinted(name, param):
    store, arguments = sample(name)
    raw = [1200, 900, 1600, 1100]
    message = call(name, {**arguments, param: written(name, param, raw)}, store)
    told = json.loads(message.text)["error"]
    return f"{told['code']} with hint" if "thousandths" in told.get("hint", "") else told["code"]


def grown(name, **arguments):
    """What becomes of a box of one pixel."""
    store, given = sample(name)
    outcome = call(name, {**given, **arguments}, store).outcomes[0]
    if outcome.fault is not None:
        return str(outcome.fault.code)
    size = store.size(outcome.handles[0])
    return "grown" if size == (16, 16) and outcome.effective else str(size)


def b8_zoom_many():
    return grown("zoom_many", boxes=[[500, 500, 501, 501]])


def b8_magnify():
    return grown("magnify", box=[500, 500, 501, 501], factor=1)


def long_picture(name, **arguments):
    """The code for a part of 6000x16 pixels."""
    store, given = sample(name)
    wide = replaced(store, lambda _, value: resized(value, (6000, 40)))
    fault = call(name, {**given, **arguments}, wide).outcomes[0].fault
    return "none" if fault is None else str(fault.code)


def b9_zoom_many():
    return long_picture("zoom_many", boxes=[[0, 0, 1000, 400]])


def b9_result():
    """A turn that makes a picture too long for any family."""
    store = replaced(sample("rotate")[0], lambda _, v: resized(v, (2100, 10)))
    fault = call("rotate", {"image": 1, "degrees": 180}, store).outcomes[0].fault
    return "none" if fault is None else str(fault.code)


def b7_result():
    """A result of more than 64 megapixels is refused before it is made."""
    wide = Image(np.zeros((1000, 1000, 3), np.uint8))
    store = replaced(sample("magnify")[0], lambda _, value: wide)
    fault = call("magnify", {"image": 1, "factor": 8.1}, store).outcomes[0].fault
    return "none" if fault is None else str(fault.code)
