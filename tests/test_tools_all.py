"""Properties of every registered tool. A new tool needs a row in `support/tool_samples.py`."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_calls import (
    NAMES,
    PLACES,
    READY,
    bound,
    call,
    fault_of,
    misplaced,
    painted,
    params,
    replaced,
    resized,
    sample,
)
from tool_samples import SAMPLES, WHOLE, filled, smooth

from vtool.check import check_tool
from vtool.geometry import Box, Convention, Point, Region, Units, Unmappable
from vtool.media import Image
from vtool.needs import LackKind
from vtool.store import Store, value_digest
from vtool.tool import tools
from vtool.toolbox import Toolbox, ToolUnavailable
from vtool.toolspec import MEDIA_KINDS, PLACE_KINDS, VALUE_KINDS, Kind
from vtool.transform import Affine

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
    assert {n for n, state in listed.items() if state == "ready"} == set(READY)


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_that_cannot_run_here_lacks_what_nobody_can_install(name):
    """Weights are the user's; libraries and, in CI, programs must be there."""
    lacks = tools.get(name).lacks()
    allowed = {LackKind.WEIGHTS} if CI else {LackKind.WEIGHTS, LackKind.PROGRAM}
    assert {lack.kind for lack in lacks} <= allowed, lacks
    if lacks:
        with pytest.raises(ToolUnavailable, match=name) as err:
            Toolbox([name])
        assert all(lack.fix in str(err.value) for lack in lacks)


# How it behaves


@pytest.mark.parametrize("name", READY)
def test_tools_conform(name):
    store, arguments = sample(name)
    check_tool(tools.get(name), bound(name, arguments, store))


@pytest.mark.parametrize("name", READY)
def test_the_sample_call_gives_something(name):
    store, arguments = sample(name)
    before = {e.handle: value_digest(e.value) for e in store}
    outcome = (message := call(name, arguments, store)).outcomes[0]
    assert outcome.fault is None, outcome.fault
    assert outcome.handles or outcome.found or message.text
    assert {e.handle: value_digest(e.value) for e in store if e.handle in before} == before


@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("seed", [0, 1])
def test_calls_resolve_under_random_names(name, seed):
    plain = Toolbox([name], cache=False)
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


@pytest.mark.parametrize("name", [n for n in READY if params(*MEDIA_KINDS, Kind.IMAGES)])
@pytest.mark.parametrize("size", [(1, 1), (400, 1), (1, 400), (16, 16)], ids=str)
def test_tiny_and_long_pictures_never_break_a_tool(name, size):
    store, arguments = sample(name)
    call(name, arguments, replaced(store, lambda _, value: resized(value, size)))


# Where places on its pictures lie


@cache
def made(name):
    """The sample call carried out: its store, its arguments, the pictures that it made."""
    store, arguments = sample(name)
    handles = call(name, arguments, store).outcomes[0].handles
    return store, arguments, [h for h in handles if isinstance(store[h].value, Image)]


def block(store, handle, x, y):
    """Where to paint so that it is seen at (x, y) of a result: source, rect; None if nowhere.

    The block is large enough to be a few pixels of the result, and wholly seen there.
    """
    at = store.to_source(Region(handle, Point(x, y)))
    if isinstance(at, Unmappable):
        return None
    size, shown = store.size(at.media), store.size(handle)
    scale = result_pixels(store, handle, x, y)
    if scale is None:
        return None
    r = max(1, math.ceil(1.5 / scale))
    cx, cy = int(at.shape.x * size[0]), int(at.shape.y * size[1])
    rect = (cx - r, cy - r, cx + r + 1, cy + r + 1)
    reach = (r + 2) * max(1.0, scale) * 1.5 + 3
    for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        px, py = x + dx * reach / shown[0], y + dy * reach / shown[1]
        if not (0 <= px <= 1 and 0 <= py <= 1):
            return None
        corner = store.to_source(Region(handle, Point(px, py)))
        if isinstance(corner, Unmappable) or corner.media != at.media:
            return None
    inside = r <= cx < size[0] - r and r <= cy < size[1] - r
    return (at.media, rect, scale) if inside else None


def result_pixels(store, handle, x, y):
    """Pixels of the result a pixel of the source, or None at the border of what maps."""
    width, _ = store.size(handle)
    step = 1 / width if x < 0.5 else -1 / width
    ends = [store.to_source(Region(handle, Point(x + d, y))) for d in (0, step)]
    if any(isinstance(e, Unmappable) for e in ends) or ends[0].media != ends[1].media:
        return None
    size = store.size(ends[0].media)
    a, b = (e.shape for e in ends)
    return 1 / math.hypot((a.x - b.x) * size[0], (a.y - b.y) * size[1])


def strongest(before, after):
    """Middles of the pixels that changed most, (N, 2) in unit coordinates."""
    change = np.abs(after.pixels.astype(int) - before.pixels).sum(axis=2)
    ys, xs = np.nonzero(change >= max(1, change.max() / 2))
    return np.stack([(xs + 0.5) / change.shape[1], (ys + 0.5) / change.shape[0]], axis=1)


def in_source(store, handle, places, media):
    """Unit places on a result, in pixels of its source (N, 2)."""
    leads = [store.to_source(Region(handle, Point(float(x), float(y)))) for x, y in places]
    assert all(not isinstance(at, Unmappable) and at.media == media for at in leads)
    return np.array([(at.shape.x, at.shape.y) for at in leads]) * store.size(media)


def leads_to(result, x, y):
    """Whether a mark painted where (x, y) leads to is seen there, and nowhere else.

    Every pixel that it changes must lead to within a pixel of it; where its outline is seen, its
    middle must lead to within a pixel of its middle, across and down.
    """
    target = block(result.store, result.handle, x, y)
    if target is None:
        return False
    media, rect, scale = target
    seen = result.again(lambda h, v: painted(v, rect) if h == media else v)
    places = strongest(result.store.image(result.handle), seen)
    if not len(places):
        return False
    back = in_source(result.store, result.handle, places, media)
    low, high = np.array(rect[:2]), np.array(rect[2:])
    far = np.linalg.norm(np.maximum(0, np.maximum(low - back, back - high)), axis=1).max()
    assert far <= 1.0, f"seen {far:.2f} pixels beside the mark at ({x:.3f}, {y:.3f})"
    # Its outline is whole: then its middle can be told.
    if np.abs(np.ptp(back, axis=0) + 1 / scale - (high - low)).max() <= 0.75:
        middle = (back.min(axis=0) + back.max(axis=0)) / 2
        off = np.abs(middle - (low + high) / 2).max()
        assert off <= 1.0, f"{off:.2f} pixels of the source off at ({x:.3f}, {y:.3f})"
    return True


@dataclass(frozen=True)
class Result:
    """A picture that tools made, and how to make it again of changed sources."""

    store: Store
    handle: str
    again: Callable[[Callable[[str, object], object]], Image]


def results(name):
    """The pictures of a tool's sample call."""
    store, arguments, handles = made(name)

    def again(index, change):
        fresh = replaced(sample(name)[0], change)
        return fresh.image(call(name, arguments, fresh).outcomes[0].handles[index])

    return [Result(store, h, partial(again, i)) for i, h in enumerate(handles)]


def check_all(result, examples=30):
    """How many of some random places were seen to lead to the right place."""
    seen = []

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.nested_given])
    @given(x=st.floats(0, 1), y=st.floats(0, 1))
    def check(x, y):
        seen.append(leads_to(result, x, y))

    check()
    return seen.count(True)


@pytest.mark.parametrize("name", READY)
def test_places_on_a_result_lead_to_what_is_seen_there(name):
    """Paint a mark where a place leads to, run again: the mark is seen at that place."""
    for result in results(name):
        places = [(i / 8, j / 8) for i in range(1, 8) for j in range(1, 8)]
        maps = [lead(result.store, result.handle, *p) for p in places]
        if any(maps) and name not in WHOLE:
            # A mark under a drawn line, or at the border, is not seen; but some must be.
            assert check_all(result) >= 3, f"too few marks were seen on {result.handle}"


def lead(store, handle, x, y):
    """Whether a place leads anywhere; then to something that is in the store."""
    at = store.to_source(Region(handle, Point(x, y)))
    assert isinstance(at, Unmappable) or at.media in store
    return not isinstance(at, Unmappable)


STEPS = {
    "contact_sheet": lambda n: {"images": [n, 2, n], "side": 150},
    "draw_box": lambda n: {"image": n, "boxes": [[700, 700, 950, 950]]},
    "flip": lambda n: {"image": n},
    "grid": lambda n: {"image": n, "columns": 2, "rows": 2},
    "highlight": lambda n: {"image": n, "boxes": [[100, 100, 900, 900]], "dim": 0.3},
    "magnify": lambda n: {"image": n, "factor": 1.7},
    "rotate": lambda n: {"image": n, "degrees": -25},
    "zoom": lambda n: {"image": n, "box": [150, 100, 900, 850]},
    "zoom_many": lambda n: {"image": n, "boxes": [[150, 100, 900, 850]]},
}


def played(steps, change=lambda h, v: v):
    """A chain of calls, each on the result of the one before."""
    pictures = (smooth(200, 150), smooth(90, 120, 1))
    store = replaced(filled(*pictures), change)
    number = 1
    for name in steps:
        outcome = call(name, STEPS[name](number), store).outcomes[0]
        assert outcome.fault is None, outcome.fault
        number = len(store)
    return store, f"image_{number}"


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=4))
@settings(max_examples=15)
def test_chains_of_tools_lead_back_to_the_first_picture(steps):
    result = Result(*played(steps), lambda change: played_image(steps, change))
    seen = 0
    for x, y in ((0.3, 0.4), (0.5, 0.5), (0.25, 0.6), (0.6, 0.35)):
        seen += leads_to(result, x, y)
    assert seen or "contact_sheet" in steps or "rotate" in steps


def played_image(steps, change):
    store, handle = played(steps, change)
    return store.image(handle)


@pytest.mark.parametrize(
    "wrong", [Affine.identity(), Affine(-1, 0, 1 + 3 / 160, 0, 1, 0), Affine(-1, 0, 1, 0, 0.97, 0)]
)
def test_the_property_catches_a_wrong_way(wrong, monkeypatch):
    monkeypatch.setattr("vtool.vision_tools.flip._MIRRORED", wrong)
    made.cache_clear()
    wrong_one = results("flip")[0]
    made.cache_clear()
    for x, y in ((0.2, 0.8), (0.7, 0.6), (0.4, 0.9)):
        with pytest.raises(AssertionError, match=r"pixels (beside|of the source off)"):
            leads_to(wrong_one, x, y)
