"""R3, points, distances and ladders of places."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vtool.assignment import best_assignment
from vtool.geometry import Box, Mask, Point
from vtool.located import named
from vtool.metrics import exact_match, normalize_answer
from vtool.record import Episode
from vtool.reward import reward
from vtool.shape_metrics import distance, great_circle_km, inside
from vtool.task import Points, Task

from .answer import said
from .shapes import area_of

LEVELS = ("city", "state", "country")
WEIGHTS = (4.0, 2.0, 1.0)


@reward("point_nndc")
def point_nndc(episode: Episode, task: Task) -> float | None:
    """NNDC of named and wanted points, best matching, over the larger count.

    Source: SpaceTools, (e^{-5d} - e^{-5 sqrt 2}) / (1 - e^{-5 sqrt 2}), d in unit coordinates.
    Trap: without the normalisation of coordinates it is 0 almost everywhere.
    """
    return _matched(episode, task, None)


@reward("point_in_area")
def point_in_area(episode: Episode, task: Task) -> float | None:
    """Share of the named points that lie in the area which holds the answer (evidence).

    Source: the pointing metric of RoboSpatial and RefSpatial. Trap: one sure point is enough; it
    does not count how many were asked for.
    """
    area = area_of(task)
    if not isinstance(task.reference, Points) or area is None:
        return None
    found = named(episode, task)
    if found is None or not found.count:
        return 0.0
    return sum(inside(p, area) for p in found.points) / found.count


@reward("point_final")
def point_final(episode: Episode, task: Task) -> float | None:
    """max(NNDC, hit) of each pair of the best matching, over the larger count.

    Source: SpaceTools, final = max(NNDC, 1[hit]); a hit lies in the task's evidence area.
    """
    return _matched(episode, task, area_of(task))


@reward("grasp_nnce")
def grasp_nnce(episode: Episode, task: Task, *, unit: float = 0.1) -> float | None:
    """1 - min(10, mean |p' - p| / unit) / 10 over points named in the order of the wanted ones.

    Source: SpaceTools, NNCE. Trap: `unit` is the d of the formula, a length of the task (such as
    a gripper's width); .1 of the side is ours. Another count of points is 0.
    """
    if not isinstance(task.reference, Points):
        return None
    found = named(episode, task)
    wanted = task.reference.points
    if found is None or len(found.points) != len(wanted) or not wanted or found.astray:
        return 0.0
    pairs = zip(found.points, wanted, strict=True)
    return nnce(math.fsum(distance(a, b) for a, b in pairs) / len(wanted), unit)


@reward("ladder")
def ladder(
    episode: Episode,
    task: Task,
    *,
    levels: Sequence[str] = LEVELS,
    weights: Sequence[float] = WEIGHTS,
    base: float = 0.0,
) -> float | None:
    """Points of the finest level that the answer gets right; coarser ones are then right too.

    Accepted names stand in the task's tags, one list a level; the answer is right at a level where
    it is one of these, or names one of them between its commas.

    Source: GeoVista v1, city 4, state 2, country 1. Trap: the last released scorer is city only:
    `ladder_city`.
    """
    if not all(isinstance(task.tags.get(level), list) for level in levels):
        return None
    given = said(episode)
    right = {level: names_one(given, task.tags[level]) for level in levels}
    return ladder_score(right, levels, weights, base)


@reward("ladder_city")
def ladder_city(episode: Episode, task: Task) -> float | None:
    """1 if the finest level is right, else 0.

    Source: GeoVista's last released scorer (v4), which has the ladder commented out.
    """
    return ladder(episode, task, levels=LEVELS[:1], weights=(1.0,))


@reward("geo_distance")
def geo_distance(episode: Episode, task: Task, *, scale_km: float = 1000.0) -> float | None:
    """e^{-km / scale} for an answer "latitude, longitude" in degrees.

    Source: great-circle distance, GeoVista's second metric; the exponential is the dense reward of
    geolocation games. The true place stands in the task's tag `place`.
    """
    place = task.tags.get("place")
    if not isinstance(place, list) or len(place) != 2:
        return None
    given = _degrees(said(episode))
    if given is None:
        return 0.0
    lat, lon = (float(v) for v in place if isinstance(v, int | float))
    return math.exp(-great_circle_km(given, (lat, lon)) / scale_km)


def nndc(d: float) -> float:
    """Normalised closeness of two points at distance d: 1 at 0, 0 at sqrt(2) and beyond.

    Source: SpaceTools, NNDC.
    """
    floor = math.exp(-5 * math.sqrt(2))
    return max(0.0, (math.exp(-5 * d) - floor) / (1 - floor))


def nnce(mean_error: float, unit: float) -> float:
    """1 - min(10, error / unit) / 10. Source: SpaceTools, NNCE."""
    return 1.0 - min(10.0, mean_error / unit) / 10.0


def ladder_score(
    right: Mapping[str, bool],
    levels: Sequence[str] = LEVELS,
    weights: Sequence[float] = WEIGHTS,
    base: float = 0.0,
) -> float:
    """Weight of the first level that is right, finest first: whatever is finer implies the rest."""
    for level, weight in zip(levels, weights, strict=True):
        if right.get(level):
            return float(weight)
    return base


def names_one(answer: str | None, accepted: object) -> bool:
    """Whether an answer is, or names between its commas, one of the accepted names."""
    if answer is None or not isinstance(accepted, list):
        return False
    names = {normalize_answer(str(a)) for a in accepted}
    parts = [answer, *answer.split(",")] if len(answer) <= 1000 else []
    return any(normalize_answer(p) in names or exact_match(p, map(str, accepted)) for p in parts)


def _matched(episode: Episode, task: Task, area: Box | Mask | None) -> float | None:
    if not isinstance(task.reference, Points):
        return None
    found, wanted = named(episode, task), task.reference.points
    if found is None or not found.points or not wanted:
        return float(found is not None and not found.count and not wanted)
    scores = [[_closeness(p, w, area) for w in wanted] for p in found.points]
    total = math.fsum(scores[r][c] for r, c in best_assignment(scores))
    return total / max(found.count, len(wanted))


def _closeness(point: Point, wanted: Point, area: Box | Mask | None) -> float:
    hit = area is not None and inside(point, area)
    return 1.0 if hit else nndc(distance(point, wanted))


def _degrees(answer: str | None) -> tuple[float, float] | None:
    parts = (answer or "").strip("()[] ").split(",")
    try:
        lat, lon = (float(p) for p in parts)
    except ValueError:
        return None
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None
