"""Planes and boxes of point clouds: ours against open3d's, in result and time.

    OMP_NUM_THREADS=1 python benchmarks/cloud_geometry.py

Needs the extra `spatial`; open3d itself needs libusb-1.0 from the operating system. Writes
`results/cloud_geometry.md` and `.json`. Boxes are judged by the volume that holds every point
along their axes (smaller is better; infinite where the axes are not perpendicular unit vectors),
planes by their distance from the true one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _timing
import numpy as np
import open3d
from vtool.vision_tools.backends.cloud import to_open3d
from vtool.vision_tools.backends.minimal_box import around
from vtool.vision_tools.backends.plane import fit

from vtool.store import Cloud

WITHIN, TRIES = 0.01, 500
WORST_VOLUME, WORST_PLANE = 1.01, 1e-3


def three_sides(rng: np.random.Generator) -> np.ndarray:
    """A box of 0.3 x 0.2 x 0.12 m of which three sides are seen, turned."""
    side = np.linspace(-0.5, 0.5, 80)
    a, b = (g.ravel() for g in np.meshgrid(side, side))
    c = np.full_like(a, 0.5)
    corners = np.concatenate([np.c_[a, b, c], np.c_[a, c, b], np.c_[c, a, b]])
    return corners * [0.3, 0.2, 0.12] @ turned(rng)


def rounded(rng: np.random.Generator) -> np.ndarray:
    """A smooth lumpy body of about 2 x 1.4 x 1 m."""
    u = rng.normal(size=(20000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    lumps = 1 + 0.3 * np.sin(5 * u[:, :1]) + 0.2 * np.cos(3 * u[:, 1:2])
    return u * lumps * [1, 0.7, 0.5] @ turned(rng)


def scattered(rng: np.random.Generator) -> np.ndarray:
    """Normally scattered points, unequal in their three directions."""
    return rng.normal(size=(3000, 3)) * [1, 0.6, 0.2] @ turned(rng)


def turned(rng: np.random.Generator) -> np.ndarray:
    """A random rotation."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def floor(rng: np.random.Generator) -> np.ndarray:
    """4000 points of a floor (3 mm of noise) among 6000 wild ones; true plane z = 3."""
    flat = np.c_[rng.uniform(-1, 1, (4000, 2)), rng.normal(3, 0.003, 4000)]
    return np.concatenate([flat, rng.uniform([-1, -1, 2], [1, 1, 4], (6000, 3))])


def boxes(points: np.ndarray) -> dict[str, dict[str, float]]:
    """Volume and time of each way to box points."""
    cloud = to_open3d(Cloud(points.astype(np.float32)))
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: around(points).axes,
        "open3d minimal": lambda: cloud.get_minimal_oriented_bounding_box().R.T,
        "open3d principal axes": lambda: cloud.get_oriented_bounding_box().R.T,
    }
    times = _timing.interleave(ways, repeats=3)
    return {
        name: {"litres": litres(points, work()), "seconds": _timing.summary(times[name])["median"]}
        for name, work in ways.items()
    }


def litres(points: np.ndarray, axes: np.ndarray) -> float:
    """Volume of the box along three axes that holds all points; infinite where they are none."""
    if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-6):
        return float("inf")
    return 1000 * float(np.ptp(points @ axes.T, axis=0).prod())


def planes(points: np.ndarray) -> dict[str, dict[str, float]]:
    """Distance from z = 3 at the corners of the floor, and time."""
    cloud = to_open3d(Cloud(points.astype(np.float32)))

    def ours() -> np.ndarray:
        plane = fit(points, within=WITHIN, tries=TRIES, seed=0)
        assert plane is not None
        return np.append(plane.normal, -plane.offset)

    def theirs() -> np.ndarray:
        open3d.utility.random.seed(0)
        return np.asarray(cloud.segment_plane(WITHIN, 3, TRIES)[0])

    ways = {"ours": ours, "open3d": theirs}
    times = _timing.interleave(ways, repeats=5)
    corners = np.array([[x, y, 3.0, 1.0] for x in (-1, 1) for y in (-1, 1)])
    return {
        name: {
            "off_mm": 1000 * float(np.abs(corners @ work()).max()),
            "seconds": _timing.summary(times[name])["median"],
        }
        for name, work in ways.items()
    }


def page(found: dict[str, Any], flat: dict[str, Any], machine: dict[str, Any]) -> str:
    """The results as a page."""
    lines = [
        "# Boxes and planes of point clouds",
        "",
        "Made by `OMP_NUM_THREADS=1 python benchmarks/cloud_geometry.py`, one thread.",
        "",
        "Litres of the box along a method's axes that holds every point.",
        "",
        "| points | method | litres | CPU s |",
        "|---|---|---|---|",
    ]
    for name, ways in found.items():
        for way, r in ways.items():
            lines.append(f"| {name} | {way} | {r['litres']:.3f} | {r['seconds']:.3f} |")
    lines += ["", "| plane | off at the corners, mm | CPU s |", "|---|---|---|"]
    lines += [f"| {way} | {r['off_mm']:.3f} | {r['seconds']:.3f} |" for way, r in flat.items()]
    return "\n".join([*lines, "", f"Machine: {machine['cpu']}; {machine['packages']}.", ""])


def main() -> None:
    rng = np.random.default_rng(0)
    makers = {"three sides of a box": three_sides, "lumpy body": rounded, "scattered": scattered}
    found = {name: boxes(make(rng)) for name, make in makers.items()}
    flat = planes(floor(rng))
    machine = _timing.machine(("open3d-cpu", "numpy"))
    _timing.write("cloud_geometry", {"boxes": found, "planes": flat, "machine": machine})
    text = page(found, flat, machine)
    (_timing.RESULTS / "cloud_geometry.md").write_text(text)
    print(text)
    for name, ways in found.items():
        assert ways["ours"]["litres"] <= WORST_VOLUME * ways["open3d minimal"]["litres"], name
    assert flat["ours"]["off_mm"] <= 1000 * WORST_PLANE, flat


if __name__ == "__main__":
    main()
