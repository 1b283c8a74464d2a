"""Axes, ticks and panels of seeded charts, against what the plotting library itself says."""

import charts
import matplotlib
import matplotlib.style
import numpy as np
import pytest
import skimage.data
from vtool.vision_tools.backends.ticks import fit_scale, read_number
from vtool.vision_tools.find_axes import find_axes
from vtool.vision_tools.find_subplots import find_subplots

from vtool.check import check_tool
from vtool.errors import ModelFault
from vtool.geometry import iou
from vtool.media import Image


def grey(array):
    return Image(np.repeat(array[:, :, None], 3, 2) if array.ndim == 2 else array)


@pytest.fixture(params=[0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def rng(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("kind", charts.KINDS)
def test_plot_area_and_ticks_lie_where_they_were_drawn(kind, rng):
    fig, (ax,) = charts.figure()
    charts.draw(ax, kind, rng)
    image = charts.rendered(fig)
    width, height = image.size
    found = find_axes(image).found
    areas = [f for f in found if f.label == "plot area"]
    assert len(areas) == 1
    assert iou(areas[0].shape, charts.unit(ax.bbox, image.size)) > 0.98
    for axis in ("x", "y"):
        told = [f.shape for f in found if f.label == f"{axis} tick"]
        places = sorted(p.x * width if axis == "x" else p.y * height for p in told)
        wanted = [px for px, _ in charts.ticks(ax, axis, height)]
        assert len(places) == len(wanted)
        assert np.abs(np.subtract(places, wanted)).max() < 2


@pytest.mark.parametrize("kind", charts.KINDS)
def test_what_the_axes_count_follows_from_their_labels(kind, rng):
    fig, (ax,) = charts.figure()
    charts.draw(ax, kind, rng)
    facts = find_axes(charts.rendered(fig)).found[0].facts
    sides = {"x": ("x_left", "x_right", ax.get_xlim()), "y": ("y_bottom", "y_top", ax.get_ylim())}
    if kind == "bar":
        del sides["x"]
        assert "x_left" not in facts
    assert facts.get("y_scale") == ("log" if kind == "log" else None)
    for low, high, wanted in sides.values():
        got = (facts[low], facts[high])
        if (low, kind) == ("y_bottom", "log"):
            got, wanted = np.log10(got), np.log10(wanted)
        slack = 0.006 * abs(wanted[1] - wanted[0])
        assert np.abs(np.subtract(got, wanted)).max() < slack


def test_several_charts_are_told_apart():
    fig, axes = charts.figure(2, 2, (9, 6), "tight")
    rng = np.random.default_rng(4)
    for ax, kind in zip(axes, ("line", "bar", "scatter", "hist"), strict=True):
        charts.draw(ax, kind, rng)
    image = charts.rendered(fig)
    areas = [f.shape for f in find_axes(image).found if f.label == "plot area"]
    assert len(areas) == 4
    for ax, area in zip(axes, areas, strict=True):
        assert iou(area, charts.unit(ax.bbox, image.size)) > 0.97


@pytest.mark.parametrize("name", ["astronaut", "coffee", "page", "text"])
def test_pictures_without_charts_hold_no_axes(name):
    seen = find_axes(grey(getattr(skimage.data, name)()))
    assert (seen.found, seen.text) == ((), "no axes found")


def test_misread_and_missing_labels():
    places, said = [10, 60, 110, 160, 210], [0, 5, 70, 15, 20]
    scale, fits = fit_scale(places, said)
    assert fits == [True, True, False, True, True]
    assert scale.value(110) == pytest.approx(10)
    assert fit_scale(places, [3, 90, -4, 17, 2]) is None
    assert fit_scale([10, 60], [0, 1]) is None
    scale, _ = fit_scale([0, 50, 100], [1, 10, 100])
    assert (scale.log, scale.value(150)) == (True, pytest.approx(1000))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("−2.5", -2.5),
        ("1,000", 1000.0),
        ("50 %", 50.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("abc", None),
        ("", None),
        ("1.2.3", None),
        ("nan", None),
        ("10⁻¹", 0.1),
        ("10^{3", 1000.0),
        ("10º", 1.0),
        ("103", 103.0),
    ],
)
def test_numbers_of_ticks(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("kind", ["line", "bar", "scatter"])
def test_panels_of_a_figure(rows, columns, kind):
    fig, axes = charts.figure(rows, columns, (9, 6), "tight")
    rng = np.random.default_rng(0)
    for ax in axes:
        charts.draw(ax, kind, rng)
        ax.set_title("title")
    fig.suptitle("All of them")
    image = charts.rendered(fig)
    found = find_subplots(image).found
    assert [f.label for f in found] == [f"panel {i + 1}" for i in range(len(axes))]
    for ax, finding in zip(axes, found, strict=True):
        assert iou(finding.shape, charts.unit(ax.get_tightbbox(), image.size)) > 0.9


def test_paper_has_no_panels_and_a_speck_is_no_figure():
    white = Image(np.full((90, 120, 3), 255, np.uint8))
    assert find_subplots(white).text == "no panels found"
    dots = np.full((200, 200, 3), 255, np.uint8)
    dots[20::60, 20::60] = 0
    assert find_subplots(Image(dots)).found == () or len(find_subplots(Image(dots)).found) == 1
    with pytest.raises(ModelFault, match="no figure"):
        find_subplots(Image(np.zeros((8, 8, 3), np.uint8)))


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (33, 33)])
def test_odd_shapes_hold_no_axes(size):
    shape = (size[1], size[0], 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert find_axes(Image(pixels)).found == ()


def test_the_chart_tools_conform():
    fig, (ax,) = charts.figure()
    charts.draw(ax, "line", np.random.default_rng(0))
    image = charts.rendered(fig)
    check_tool(find_axes, {"image": image})
    check_tool(find_subplots, {"image": image})


@pytest.mark.parametrize("case", ["inward", "jpeg", "dark"])
def test_other_looks_of_a_chart(case):
    ways = {"inward": {"xtick.direction": "in", "ytick.direction": "in"}, "jpeg": {}}
    style = matplotlib.style.library["dark_background"] if case == "dark" else ways[case]
    with matplotlib.rc_context(style):
        fig, (ax,) = charts.figure()
        charts.draw(ax, "scatter", np.random.default_rng(1))
        image = charts.rendered(fig)
    if case == "jpeg":
        image = Image.decode(image.encode("JPEG"))
    found = find_axes(image).found
    assert iou(found[0].shape, charts.unit(ax.bbox, image.size)) > 0.98
    assert {"x_left", "x_right", "y_bottom", "y_top"} <= set(found[0].facts)
    for axis in ("x", "y"):
        wanted = [value for _, value in charts.ticks(ax, axis, image.size[1])]
        told = [f.facts["value"] for f in found if f.label == f"{axis} tick"]
        assert sorted(told) == pytest.approx(sorted(wanted))


def test_a_chart_without_axis_lines_is_not_guessed():
    with matplotlib.rc_context(matplotlib.style.library["ggplot"]):
        fig, (ax,) = charts.figure()
        charts.draw(ax, "line", np.random.default_rng(1))
        assert find_axes(charts.rendered(fig)).text == "no axes found"
