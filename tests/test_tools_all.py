"""Properties of every registered tool. A new tool needs a row in `support/tool_samples.py`."""

import json
import math
import os
import subprocess
import sys

import pytest
from tool_calls import (
    NAMES,
    PLACES,
    READY,
    bound,
    call,
    chosen,
    fault_of,
    misplaced,
    params,
    replaced,
    resized,
    sample,
)
from tool_samples import SAMPLES, WHOLE

from vtool.check import check_tool
from vtool.geometry import Box, Convention, Units
from vtool.needs import LackKind
from vtool.store import value_digest
from vtool.tool import tools
from vtool.toolbox import Toolbox, ToolUnavailable
from vtool.toolspec import MEDIA_KINDS, PLACE_KINDS, VALUE_KINDS, Kind

CI = os.environ.get("CI", "").lower() in ("1", "true")
HEAVY = (
    "torch",
    "transformers",
    "cv2",
    "onnxruntime",
    "rapidocr",
    "open3d",
    "skimage",
    "av",
    "mcp",
)


# What a model is told


def test_every_tool_has_a_sample_and_every_sample_a_tool():
    missing, left = sorted(set(NAMES) - set(SAMPLES)), sorted(set(SAMPLES) - set(NAMES))
    assert not missing, f"add rows to tests/support/tool_samples.py for {', '.join(missing)}"
    assert not left, f"no such tools any more: drop the rows of {', '.join(left)}"
    assert set(WHOLE) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("units", [Units.THOUSAND, Units.SHOWN, Units.UNIT])
def test_schemas_are_complete(name, units):
    spec = tools.get(name).spec
    schema = json.loads(json.dumps(spec.schema(Convention(units))))["function"]
    assert schema["name"] == name
    assert schema["description"].endswith((".", ")")), "the first paragraph is whole sentences"
    assert "Args:" not in schema["description"]
    for param in spec.params:
        told = schema["parameters"]["properties"][param.name]
        assert param.description, f"{name}: {param.name} is not described"
        assert told.get("type") or told.get("enum")
        if param.kind in PLACE_KINDS:
            assert Convention(units).describe().split("] in ")[1] in told["description"]
            assert param.of, f"{name}: no picture stands before {param.name}"
        if param.choices:
            assert told["enum"] == list(param.choices)
    assert schema["parameters"]["required"] == [p.name for p in spec.params if p.required]
    assert tools.get(name).settings_arg not in schema["parameters"]["properties"]


def test_listing_all_tools_loads_nothing_heavy():
    program = (
        "import sys\nfrom vtool.cli import main\n"
        "try:\n    main(['tools', '--json'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1:] == ["[]"], done.stderr
    listed = {tool["name"]: tool["state"] for tool in json.loads(done.stdout)}
    assert tuple(sorted(listed)) == NAMES
    assert {n for n, state in listed.items() if state == "ready"} <= set(READY)


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_that_cannot_run_here_lacks_what_nobody_can_install(name):
    """Weights are the user's; libraries and, in CI, programs must be there."""
    lacks = chosen(name).lacks()
    allowed = {LackKind.WEIGHTS} if CI else {LackKind.WEIGHTS, LackKind.PROGRAM}
    assert {lack.kind for lack in lacks} <= allowed, lacks
    if lacks:
        with pytest.raises(ToolUnavailable, match=name) as err:
            Toolbox([chosen(name)])
        assert all(lack.fix in str(err.value) for lack in lacks)


# How it behaves


@pytest.mark.parametrize("name", READY)
def test_tools_conform(name):
    store, arguments = sample(name)
    check_tool(chosen(name), bound(name, arguments, store))


@pytest.mark.parametrize("name", READY)
def test_the_sample_call_gives_something(name):
    store, arguments = sample(name)
    before = {e.handle: value_digest(e.value) for e in store}
    outcome = (message := call(name, arguments, store)).outcomes[0]
    assert outcome.fault is None, outcome.fault
    assert outcome.handles or outcome.found or message.text
    assert {e.handle: value_digest(e.value) for e in store if e.handle in before} == before


def test_no_tool_leaves_anything_behind_for_another():
    """The sample calls in one order and in the other: each gives the same."""
    there, back = ({n: essence(n) for n in order} for order in (READY, READY[::-1]))
    assert there == back


def essence(name):
    """What a sample call gives."""
    store, arguments = sample(name)
    message = call(name, arguments, store)
    outcome = message.outcomes[0]
    return message.text, outcome.found, [store[h].digest for h in outcome.handles]


@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("seed", [0])
def test_calls_resolve_under_random_names(name, seed):
    plain = Toolbox([chosen(name)], cache=False)
    (spec,), (own,) = (view := plain.view(seed)).specs, plain.specs
    renamed = {a.name: b.name for a, b in zip(own.params, spec.params, strict=True)}
    assert spec.name != own.name
    assert not set(renamed) & set(renamed.values())
    shown = json.dumps(spec.schema(Convention())["function"]["parameters"]["properties"])
    assert all(f'"{new}"' in shown for new in renamed.values())
    store, arguments = sample(name)
    first = call(name, arguments, store, plain).outcomes[0]
    again, _ = sample(name)
    second = call(spec.name, {renamed[k]: v for k, v in arguments.items()}, again, view).outcomes[0]
    assert second.fault is None
    assert [store[h].digest for h in first.handles] == [again[h].digest for h in second.handles]
    assert first.found == second.found
    assert call(name, arguments, again, view).outcomes[0].fault.code == "unknown_tool"


# What it refuses

BAD_BOXES = {
    "inverted": ([600, 100, 200, 500], "bad_box"),
    "upside down": ([100, 600, 500, 200], "bad_box"),
    "no width": ([200, 100, 200, 500], "bad_box"),
    "no height": ([100, 200, 500, 200], "bad_box"),
    "right of it": ([1100, 100, 1300, 500], "box_outside"),
    "above it": ([100, -500, 500, -10], "box_outside"),
    "NaN": ([math.nan, 0, 500, 500], "bad_args"),
    "infinite": ([0, 0, math.inf, 500], "bad_args"),
    "huge integer": ([0, 0, 10**400, 500], "bad_args"),
    "string": (["0", 0, 500, 500], "bad_args"),
    "one string": ("0,0,500,500", "bad_args"),
    "bool": ([True, 0, 500, 500], "bad_args"),
    "null": ([None, 0, 500, 500], "bad_args"),
    "nested": ([[0], 0, 500, 500], "bad_args"),
    "three": ([0, 0, 500], "bad_args"),
    "five": ([0, 0, 500, 500, 1], "bad_args"),
    "none": ([], "bad_args"),
}
BAD_POINTS = {
    "right of it": ([1001, 500], "box_outside"),
    "above it": ([500, -1], "box_outside"),
    "NaN": ([math.nan, 500], "bad_args"),
    "string": (["500", 500], "bad_args"),
    "three": ([500, 500, 500], "bad_args"),
    "a number": (500, "bad_args"),
}
BAD_SPANS = {
    "reversed": ([2, 1], "bad_window"),
    "empty": ([1, 1], "bad_window"),
    "NaN": ([math.nan, 1], "bad_args"),
    "text": (["0:01", "0:02"], "bad_args"),
}


def table(cases, *kinds):
    return [
        pytest.param(name, param, raw, code, id=f"{name}.{param}-{what}")
        for name, param in params(*kinds)
        for what, (raw, code) in cases.items()
    ]


@pytest.mark.parametrize(
    ("name", "param", "raw", "code"),
    [
        *table(BAD_BOXES, *PLACES),
        *table(BAD_POINTS, Kind.POINT, Kind.POINTS),
        *table(BAD_SPANS, Kind.SPAN),
    ],
)
def test_bad_places_are_refused_by_every_tool(name, param, raw, code):
    assert misplaced(name, param, raw) == code


@pytest.mark.parametrize(("name", "param"), params(*PLACES))
@pytest.mark.parametrize("raw", [[500, 0, 10**9, 1000], [500, 500, 1200, 900], [-50, 10, 500, 900]])
def test_boxes_over_the_border_are_cut_and_the_model_is_told(name, param, raw):
    if name not in READY:
        assert misplaced(name, param, raw) == "none"
        return
    store, arguments = sample(name)
    many = tools.get(name).spec.param(param).kind is Kind.BOXES
    message = call(name, {**arguments, param: [raw] if many else raw}, store)
    outcome = message.outcomes[0]
    assert outcome.fault is None, outcome.fault
    want = Box(*(min(1.0, max(0.0, v / 1000)) for v in raw))
    assert want in [r.shape for r in outcome.effective]


@pytest.mark.parametrize(("name", "param"), params(Kind.IMAGE, Kind.IMAGES, Kind.CLIP))
@pytest.mark.parametrize("raw", [99, 0, -1])
def test_pictures_that_are_not_there_are_refused(name, param, raw):
    store, arguments = sample(name)
    many = tools.get(name).spec.param(param).kind is Kind.IMAGES
    assert fault_of(name, {**arguments, param: [raw] if many else raw}, store) == "unknown_image"


@pytest.mark.parametrize(("name", "param"), params(*VALUE_KINDS))
@pytest.mark.parametrize("raw", ["$mask_99", "$image_1", "", "$", 1, None, ["$mask_1"]])
def test_values_that_are_not_there_are_refused(name, param, raw):
    store, arguments = sample(name)
    assert fault_of(name, {**arguments, param: raw}, store) == "bad_args"


WRONG = {
    Kind.STRING: [1, None, ["a"], {}],
    Kind.STRINGS: ["a", [1], None, {}],
    Kind.INTEGER: ["1", 1.5, True, None, math.nan],
    Kind.NUMBER: ["1", True, None, math.nan, math.inf, 10**400],
    Kind.BOOLEAN: [1, 0, "true", None],
}


@pytest.mark.parametrize(("name", "param"), params(*WRONG))
def test_values_of_another_type_are_refused(name, param):
    store, arguments = sample(name)
    spec = tools.get(name).spec.param(param)
    for raw in [*WRONG[spec.kind], *(["no such choice"] if spec.choices else [])]:
        assert fault_of(name, {**arguments, param: raw}, store) == "bad_args", raw


@pytest.mark.parametrize("name", NAMES)
def test_arguments_left_out_and_made_up_are_refused(name):
    store, arguments = sample(name)
    assert fault_of(name, {**arguments, "no_such_argument": 1}, store) == "bad_args"
    for param in tools.get(name).spec.params:
        less = {k: v for k, v in arguments.items() if k != param.name}
        if param.required:
            assert fault_of(name, less, store) == "bad_args", param.name


@pytest.mark.parametrize(
    ("name", "param"), [p for p in params(Kind.INTEGER, Kind.NUMBER) if p[0] in READY]
)
@pytest.mark.parametrize("raw", [0, -1, 10**9, -(10**9)])
def test_numbers_out_of_any_range_never_break_a_tool(name, param, raw):
    """A result or a typed fault: `call` would raise `ToolBroken`."""
    store, arguments = sample(name)
    call(name, {**arguments, param: raw}, store)


@pytest.mark.parametrize(
    "name", sorted({n for n, _ in params(*MEDIA_KINDS, Kind.IMAGES)} & set(READY))
)
@pytest.mark.parametrize("size", [(1, 1), (400, 1), (1, 400), (16, 16)], ids=str)
def test_tiny_and_long_pictures_never_break_a_tool(name, size):
    store, arguments = sample(name)
    call(name, arguments, replaced(store, lambda _, value: resized(value, size)))
