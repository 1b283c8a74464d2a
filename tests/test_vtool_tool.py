"""Tools: specs from signatures, schemas, registries, conformance checks."""

from typing import Literal

import numpy as np
import pytest
from vtool.vision_tools.zoom import zoom

from vtool.benchmark import Benchmark
from vtool.check import ConformanceError, check_benchmark, check_tool
from vtool.errors import MissingExtra, ModelFault, UnknownName, VToolError, require
from vtool.geometry import Box, Convention, Point, Units
from vtool.media import Image
from vtool.registry import Registry
from vtool.task import Answer, Evidence, Task
from vtool.tool import Kind, Observation, Tool, ToolSpec, tool, tools


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def test_the_spec_is_read_from_signature_and_docstring():
    @tool(version="3", seconds=2.0)
    def mark(
        image: Image,
        at: Point,
        boxes: list[Box],
        style: Literal["dot", "ring"] = "dot",
        size: int | None = None,
    ) -> Image:
        """Draw a mark
        on a picture.

        Args:
            image: Picture to draw on.
            at: Where,
                exactly.
            boxes: Frames.
            style: Look of it.
            size: In pixels.
        """
        return image

    spec = mark.spec
    assert (spec.name, spec.version, spec.seconds) == ("mark", "3", 2.0)
    assert spec.description == "Draw a mark on a picture."
    assert [(p.name, p.kind, p.required) for p in spec.params] == [
        ("image", Kind.IMAGE, True),
        ("at", Kind.POINT, True),
        ("boxes", Kind.BOXES, True),
        ("style", Kind.STRING, False),
        ("size", Kind.INTEGER, False),
    ]
    assert spec.param("at").description == "Where, exactly."
    assert spec.param("at").of == spec.param("boxes").of == "image"
    assert spec.param("style").choices == ("dot", "ring")


def test_the_schema_declares_units():
    schema = zoom.spec.schema(Convention(Units.THOUSAND))["function"]
    assert schema["parameters"]["required"] == ["image", "box"]
    assert "thousandths" in schema["parameters"]["properties"]["box"]["description"]
    shown = zoom.spec.schema(Convention(Units.SHOWN))["function"]
    assert "as shown" in shown["parameters"]["properties"]["box"]["description"]


def test_functions_that_cannot_be_bound_are_refused():
    def untyped(image):
        """Doc."""

    def odd(thing: complex):
        """Doc."""

    def silent(image: Image): ...

    for function, says in ((untyped, "needs a type"), (odd, "complex"), (silent, "docstring")):
        with pytest.raises(VToolError, match=says):
            tool(function)


def test_registries_refuse_doubles_and_offer_the_nearest():
    registry = Registry("thing")
    registry.add("zoom", test_the_schema_declares_units)
    registry.add("zoom", test_the_schema_declares_units)
    with pytest.raises(VToolError, match="twice"):
        registry.add("zoom", test_functions_that_cannot_be_bound_are_refused)
    with pytest.raises(UnknownName, match="did you mean 'zoom'"):
        registry.get("zoon")


def test_a_missing_library_is_answered_with_the_install_line():
    with pytest.raises(MissingExtra, match=r"run `pip install .*\[demo\]\"`"):
        require("no_such_library_at_all", "demo")


def test_zoom_conforms():
    check_tool(zoom)


def test_check_tool_finds_what_is_wrong():
    def unstable(image: Image) -> str:
        """Give noise."""
        return str(np.random.default_rng().integers(10**9))

    bad = Tool(tool(unstable).spec, unstable)
    with pytest.raises(ConformanceError) as err:
        check_tool(bad)
    assert len(err.value.faults) == 2  # no description of `image`, and not pure

    def broken(image: Image) -> str:
        """Break.

        Args:
            image: Any.
        """
        raise KeyError("x")

    with pytest.raises(ConformanceError, match="broke on a sample"):
        check_tool(tool(broken))


def test_zoom_cuts_from_the_pictures_own_pixels_and_grows_small_parts():
    rng = np.random.default_rng(0)
    image = Image(rng.integers(0, 256, (100, 200, 3), dtype=np.uint8))
    seen = zoom(image, Box(0.25, 0.5, 0.5, 1.0))
    assert np.array_equal(seen.values[0].pixels, image.pixels[50:100, 50:100])
    assert seen.effective == ()
    corner = zoom(image, Box(0.0, 0.0, 0.01, 0.01))
    assert corner.values[0].size == (16, 16)
    assert corner.effective == (Box(0, 0, 0.08, 0.16),)
    with pytest.raises(ModelFault, match="nothing smaller"):
        zoom(Image(np.zeros((8, 8, 3), np.uint8)), Box(0, 0, 1, 1))


def task(name, answer="7", evidence=()):
    return Task(id=name, prompt=("q",), reference=Answer((answer,)), evidence=evidence)


def test_check_benchmark(tmp_path):
    good = Benchmark("good", lambda root: iter([task("a"), task("b")]))
    assert check_benchmark(good, tmp_path) == 2
    rows = [task("a"), task("a", "x" * 2000), task("c", evidence=(Evidence(0, Point(0, 0)),))]
    with pytest.raises(ConformanceError) as err:
        check_benchmark(Benchmark("bad", lambda root: iter(rows)), tmp_path)
    assert [f.split(":")[0] for f in err.value.faults] == ["a", "a", "c"]
    with pytest.raises(ConformanceError, match="no task"):
        check_benchmark(Benchmark("none", lambda root: iter(())), tmp_path)


def test_an_observation_may_hold_several_values():
    spec = ToolSpec("t", "d", ())
    assert Tool(spec, lambda: Observation(text="hello"))().text == "hello"
