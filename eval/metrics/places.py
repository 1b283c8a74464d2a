"""Boxes and points in the words of an answer, as published evaluators read them.

Units are declared by the caller (`vtool.geometry.Units`) and never guessed from the values. Two
published readers do guess: `screenspot_box` and `screenspot_point` are named after them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

XY: TypeAlias = tuple[float, float]
XYXY: TypeAlias = tuple[float, float, float, float]

_N = r"(-?\d+(?:\.\d+)?)"
_FOUR = rf"\s*{_N},\s*{_N},\s*{_N},\s*{_N}\s*"
_SQUARE = re.compile(rf"\[{_FOUR}\]")
_EITHER = re.compile(rf"[\[(]{_FOUR}[\])]")
_TWO = re.compile(rf"[\[(]\s*{_N}\s*,\s*{_N}\s*[\])]")


def first_box(answer: str) -> XYXY | None:
    """The first four numbers in square brackets, in whatever units they are; None without.

    Source: lmms-eval 0.7.3, RefCOCO comprehension (which reads "no box" as four zeros).
    """
    found = _SQUARE.search(answer)
    return _four(found) if found else None


def screenspot_box(answer: str) -> XYXY | None:
    """As `first_box`, round brackets too; numbers above 1 are taken for thousandths.

    Source: lmms-eval 0.7.3, ScreenSpot.
    """
    found = _EITHER.search(answer)
    if found is None:
        return None
    a, b, c, d = _four(found)
    scale = 1000 if max(a, b, c, d) > 1 else 1
    return (a / scale, b / scale, c / scale, d / scale)


def screenspot_raw_box(answer: str) -> XYXY | None:
    """As `screenspot_box`, and the numbers as they stand."""
    found = _EITHER.search(answer)
    return _four(found) if found else None


def _four(found: re.Match[str]) -> XYXY:
    a, b, c, d = (float(g) for g in found.groups())
    return (a, b, c, d)


def named_points(answer: str) -> tuple[XY, ...]:
    """All pairs of numbers in brackets, round or square, in whatever units they are.

    A box in brackets is no point. This reads tuples as well as the `point_2d` of Qwen's JSON.
    """
    return tuple((float(x), float(y)) for x, y in _TWO.findall(answer))


_TUPLE = re.compile(r"\(([-+]?\d+\.?\d*(?:,\s*[-+]?\d+\.?\d*)*?)\)")


def refspatial_points(answer: str) -> tuple[XY, ...]:
    """Pairs in round brackets, no white space before the comma or at the brackets.

    Source: RoboRefer's evaluation, as in lmms-eval 0.7.3.
    """
    pairs = [m.split(",") for m in _TUPLE.findall(answer)]
    return tuple((float(p[0]), float(p[1])) for p in pairs if len(p) == 2)


def fenced_points(answer: str) -> tuple[XY, ...]:
    """The `point_2d` entries of the first fenced block of JSON, in whatever units they are.

    Source: lmms-eval 0.7.3, RoboSpatial-Home.
    """
    block = re.search(r"```(?:\w+)?\n(.*?)```", answer, re.DOTALL)
    try:
        rows = json.loads(block.group(1).strip()) if block else []
    except ValueError:
        return ()
    points = (
        [r.get("point_2d") for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
    )
    return tuple((float(p[0]), float(p[1])) for p in points if _is_pair(p))


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    )


_NUMBER = r"-?\d+(?:\.\d+)?%?"
_TAGGED = re.compile(r"<\s*bbox[^>]*>(.*?)<\s*/\s*bbox\s*>", re.IGNORECASE | re.DOTALL)
_PAIR = re.compile(rf"[\[(]\s*({_NUMBER})\s*(?:,|\s)\s*({_NUMBER})\s*[\])]")
_NAMED = re.compile(
    rf"['\"]?x['\"]?\s*[:=]\s*({_NUMBER}).*?['\"]?y['\"]?\s*[:=]\s*({_NUMBER})",
    re.IGNORECASE | re.DOTALL,
)
_BOX_WORDS = ("bbox", "box", "rect", "rectangle")


def screenspot_point(answer: str) -> XY | None:
    """A click: a tagged box's middle, a pair in brackets, x and y by name, or bare numbers.

    Source: lmms-eval 0.7.3, ScreenSpot-v2 and -Pro. Its values above 1 are taken for pixels there.
    """
    tagged = _TAGGED.search(answer)
    if tagged and len(found := _values(tagged.group(1))) >= 4:
        return _middle(found)
    for pattern in (_PAIR, _NAMED):
        if pair := pattern.search(answer):
            return _value(pair.group(1)), _value(pair.group(2))
    found = _values(answer)
    if len(found) >= 4 and any(w in answer.lower() for w in _BOX_WORDS):
        return _middle(found)
    return (found[0], found[1]) if len(found) >= 2 else None


def _values(text: str) -> list[float]:
    return [_value(t) for t in re.findall(_NUMBER, text)]


def _value(text: str) -> float:
    return float(text[:-1]) / 100.0 if text.endswith("%") else float(text)


def _middle(box: Sequence[float]) -> XY:
    return (box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0


def yes_or_no(answer: str, *, words: bool = False) -> bool | None:
    """What the last line says, where it says exactly one of the two.

    Args:
        answer: What was said.
        words: Only whole words count; as published, "know" says no.

    Source: lmms-eval 0.7.3, RoboSpatial-Home.
    """
    line = answer.strip().lower().split("\n")[-1]
    said = set(re.findall(r"[a-z]+", line)) if words else line
    yes, no = "yes" in said, "no" in said
    return yes if yes != no else None
