"""Scenes with exact depth: planes, boxes and spheres met by the rays of a pinhole camera."""

from __future__ import annotations

import re

import numpy as np

from vtool.camera import Camera
from vtool.geometry import Mask, Point
from vtool.store import DepthMap


def rays(camera, size):
    """Direction of each pixel's ray with z = 1 (H, W, 3)."""
    columns, rows = np.meshgrid(np.arange(size[0], dtype=float), np.arange(size[1], dtype=float))
    return camera.lift(columns, rows, np.ones_like(columns))


def plane(ray, normal, offset):
    """Depth at which rays meet n · p = offset, infinite where they do not."""
    with np.errstate(divide="ignore"):
        z = offset / (ray @ np.asarray(normal, float))
    return np.where(z > 0, z, np.inf)


def sphere(ray, centre, radius):
    """Depth of the near side of a sphere."""
    centre = np.asarray(centre, float)
    a, b = (ray**2).sum(-1), ray @ centre
    inside = b * b - a * (centre @ centre - radius**2)
    return np.where(inside >= 0, (b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)


def box(ray, centre, axes, size):
    """Depth of the near side of a box; `axes` holds a unit vector a row."""
    axes = np.asarray(axes, float)
    half = np.asarray(size, float) / 2
    origin, turned = axes @ np.asarray(centre, float), ray @ axes.T
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (origin - half) / turned, (origin + half) / turned
    enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def depth_map(z, camera: Camera | None, metric=True):
    """Nearest of some depths as a map; rays that meet nothing have no depth."""
    nearest = np.min(z, axis=0) if isinstance(z, list) else z
    return DepthMap(
        np.where(np.isfinite(nearest), nearest, np.nan).astype(np.float32), metric, camera
    )


def rotation(yaw, pitch, roll):
    """Three unit vectors, a row each, turned by three angles in radians."""

    def turn(angle, i, j):
        out = np.eye(3)
        out[i, i] = out[j, j] = np.cos(angle)
        out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
        return out

    return turn(roll, 0, 1) @ turn(pitch, 1, 2) @ turn(yaw, 0, 2)


SIZE = (160, 120)
CAMERA = Camera(150.0, 150.0, 78.0, 61.0)
RAYS = rays(CAMERA, SIZE)
FLOOR = (np.array([0.0, -np.cos(0.3), -np.sin(0.3)]), -1.2)
BALL = (0.1, 0.0, 2.0), 0.4


def scene(metric=True, camera=CAMERA):
    """A slanted floor with a ball in front of it."""
    z = [plane(RAYS, *FLOOR), sphere(RAYS, *BALL)]
    return depth_map(z, camera, metric)


def ball():
    """The pixels on which the ball is seen."""
    return Mask(sphere(RAYS, *BALL) < plane(RAYS, *FLOOR))


def place_of(point, camera=CAMERA, size=SIZE):
    """Where a point in space is seen, in unit coordinates."""
    x, y, z = point
    column, row = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    return Point((column + 0.5) / size[0], (row + 0.5) / size[1])


def metres_in(text):
    """Every length in metres that a text tells."""
    return [float(v) for v in re.findall(r"(-?[\d.]+) m\b", text)]
