"""Metrics of quantities: mean relative accuracy, numbers in words, places on the earth."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

_WORDS = {
    word: value
    for words, values in (
        ("zero one two three four five six seven eight nine ten eleven twelve", range(13)),
        ("thirteen fourteen fifteen sixteen seventeen eighteen nineteen", range(13, 20)),
        ("twenty thirty forty fifty sixty seventy eighty ninety hundred", range(20, 101, 10)),
        ("thousand", (1000,)),
    )
    for word, value in zip(words.split(), values, strict=True)
}
_DIGITS = re.compile(r"-?\d+(?:\.\d+)?")
_LETTERS = re.compile(r"[a-z]+")


def first_number(text: str) -> float | None:
    """The number that an answer names first, in digits or in English words; None without one.

    "There are 3", "twenty-one", "three hundred and twenty-one". Words that follow one another
    make one number, "and" between them aside.

    Source: VSI-Bench in lmms-eval 0.7.3.
    """
    flat = text.lower()
    digits = _DIGITS.search(flat)
    run: list[re.Match[str]] = []
    for word in _LETTERS.finditer(flat):
        if word.group() in _WORDS:
            run.append(word)
        elif run and word.group() != "and":
            break
    if digits is not None and (not run or digits.start() < run[0].start()):
        return float(digits.group())
    return _spoken([_WORDS[w.group()] for w in run]) if run else None


def _spoken(values: Sequence[int]) -> float:
    total = current = 0
    for value in values:
        if value == 1000:
            total, current = total + max(current, 1) * 1000, 0
        else:
            current = max(current, 1) * 100 if value == 100 else current + value
    return float(total + current)


_CONFIDENCE = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))
"""Ten thresholds, by the expression of the paper's code: equality depends on their rounding."""


def mean_relative_accuracy(answer: float | None, wanted: float) -> float:
    """Mean over thresholds t = .50, .55, ... .95 of |answer - wanted| / wanted <= 1 - t.

    Strictly: no number is 0, and a wanted 0 is met by 0 only (the published division gives NaN).

    Source: Yang et al. 2024 (VSI-Bench), equation 1.
    """
    if answer is None or not math.isfinite(answer):
        return 0.0
    if wanted == 0:
        return float(answer == 0)
    return float((abs(answer - wanted) / wanted <= 1 - _CONFIDENCE).mean())


EARTH_KM = 6371.0
LEVELS: Mapping[str, float] = {
    "street": 1.0,
    "city": 25.0,
    "region": 200.0,
    "country": 750.0,
    "continent": 2500.0,
}
"""Kilometres within which a place counts as found. Source: Vo, Jacobs, Hays 2017 (Im2GPS3k)."""


def haversine_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance on the earth between two (latitude, longitude) in degrees.

    Source: the haversine formula, on a sphere of 6371 km.
    """
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, p)) for p in (a, b))
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, h)))


def place_levels(km: float) -> dict[str, float]:
    """1.0 for each level within whose distance a place was found."""
    return {level: float(km <= most) for level, most in LEVELS.items()}


def administrative_levels(hits: Mapping[str, bool]) -> dict[str, float]:
    """City, state, country, each closed downwards: who has the city has the state and country.

    Args:
        hits: Whether each of `city`, `state`, `country` was named rightly.

    Source: GeoVista, section 4 (monotone closure of the levels).
    """
    city = hits.get("city", False)
    state = city or hits.get("state", False)
    country = state or hits.get("country", False)
    return {"city": float(city), "state": float(state), "country": float(country)}
