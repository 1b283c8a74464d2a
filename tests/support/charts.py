"""Charts drawn by matplotlib, with what its own transforms say of them."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vtool.geometry import Box
from vtool.media import Image

matplotlib.rcParams["font.family"] = "DejaVu Sans"
KINDS = ("line", "bar", "scatter", "log", "grid", "power", "hist")


def draw(ax, kind, rng):
    """One seeded chart."""
    if kind == "bar":
        ax.bar(list("abcde"), rng.integers(20, 90, 5), color="black")
        ax.spines[["top", "right"]].set_visible(False)
    elif kind == "scatter":
        ax.scatter(*rng.normal(size=(2, 40)))
    elif kind == "log":
        ax.semilogy(np.arange(1, 30), 10 ** rng.uniform(-1, 3.5, 29))
    elif kind == "power":
        ax.plot(rng.uniform(1, 9, 20) * 1e6)
    elif kind == "hist":
        ax.hist(rng.normal(50, 12, 400), bins=25, color="0.2")
    else:
        ax.plot(np.linspace(0, 10, 60), rng.normal(size=60).cumsum())
    if kind == "grid":
        ax.grid(True)
    ax.set_xlabel("time (s)")
    ax.set_ylabel("value")


def figure(rows=1, columns=1, size=(6.4, 4.8), layout=None):
    """An empty figure and its axes, rows first."""
    fig = Figure(figsize=size, dpi=100, layout=layout)
    FigureCanvasAgg(fig)
    return fig, list(fig.subplots(rows, columns, squeeze=False).flat)


def rendered(fig):
    """The figure as a picture."""
    fig.canvas.draw()
    return Image(np.asarray(fig.canvas.buffer_rgba())[:, :, :3])


def unit(bounds, size):
    """matplotlib's pixels, from the bottom, to a box."""
    width, height = size
    x0, x1 = max(0, bounds.x0 / width), min(1, bounds.x1 / width)
    return Box(x0, max(0, 1 - bounds.y1 / height), x1, min(1, 1 - bounds.y0 / height))


def ticks(ax, axis, height):
    """(pixel along the axis, value) of the major ticks in view."""
    which = ax.xaxis if axis == "x" else ax.yaxis
    low, high = sorted(which.get_view_interval())
    told = []
    for value in which.get_majorticklocs():
        if low <= value <= high:
            at = (value, value)
            px = ax.transData.transform(at)[0 if axis == "x" else 1]
            told.append((px if axis == "x" else height - px, float(value)))
    return sorted(told)
