"""Drills in copying times, without pictures: one token of the right kind must be found again.

A time is two tokens, whole seconds and a tenth. Whole seconds can be told from their neighbours,
since times rise; a tenth can only be looked up behind the same second. With eight times in sight
that lookup is worth nothing until it is nearly right, so that a policy stays at guessing. Here
lists begin with one time, where any tenth in sight is the right one, and only times are learnt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from vtool.worlds.drawing import COLORS, Pixels
from vtool.worlds.moments import Ask, draw

from .expert import Demo, Scribe
from .moments_expert import VIDEO, MomentScribe, turns
from .spec import FAMILY

MOST: Final = 8
_USER: Final = "<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
_PLACES: Final = ("upper left", "upper right", "lower left", "lower right")

Part = tuple[str, bool]
"""A text, and whether it is learnt."""


def looked_up(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Some times; then their seconds in another order, and the tenth of each is learnt."""
    count = int(rng.integers(1, MOST + 1))
    whole = rng.choice(111, count, replace=False) + 10
    if rng.random() < 0.7:
        whole = np.sort(whole)
    times = [f"{s}.{rng.integers(10)}" for s in whole]
    parts: list[Part] = [(_USER.format(said=_listed(times, rng)), False)]
    for i in rng.permutation(count):
        second, tenth = times[int(i)].split(".")
        parts += [(second, False), (f".{tenth}", True), (" dark, ", False)]
    return _demo(scribe, parts)


def in_order(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Rising times, then the same with a word that is given behind each."""
    times = _rising(int(rng.integers(1, MOST + 1)), rng)
    parts: list[Part] = [(_USER.format(said=_listed(times, rng)), False)]
    for time in times:
        word = _seen(rng) if rng.random() < 0.3 else ("dark", "light")[int(rng.integers(2))]
        parts += [(time, True), (f" {word}, ", False)]
    return _demo(scribe, parts)


def framed(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """As `in_order`, the times told before frames; two pictures are enough for all of them."""
    times = _rising(int(rng.integers(1, MOST + 1)), rng)
    moment = draw(int(rng.integers(1 << 40)))
    views = [moment.frame(0), moment.frame(moment.cue[0])]
    shown = [views[int(rng.integers(2))] for _ in times]
    frame = MomentScribe(scribe.tokenizer, FAMILY).frame
    said = "".join(f"<{t} seconds>{frame}" for t in times)
    parts: list[Part] = [(_USER.format(said=said), False)]
    for time, view in zip(times, shown, strict=True):
        parts += [(time, True), (" dark, " if view is views[1] else " light, ", False)]
    return _demo(scribe, parts, shown)


def retold(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """A whole episode of the moment world without its pictures; only its times are learnt."""
    moment, ask = draw(int(rng.integers(1 << 40))), Ask(rng.choice(list(Ask)))
    blind = MomentScribe(scribe.tokenizer, FAMILY)
    blind.frame = ""
    parts: list[Part] = []
    for i, (turn, seen) in enumerate(zip(*turns(moment, ask), strict=True)):
        said = blind.observation(seen) if i else blind.prompt(moment, ask, seen)
        parts.append((said, False))
        written = re.split(r"([0-9]+\.[0-9])", f"{turn.text}<|im_end|>")
        parts += [(text, at % 2 == 1) for at, text in enumerate(written)]
    return _demo(scribe, parts)


def between(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Notes, and the two times of them that follow: where to look, or when it was."""
    count = int(rng.integers(3, MOST + 1))
    times, lit = _rising(count, rng), _seen(rng)
    if rng.random() < 0.4:
        # The glance: light, then two dark frames.
        words = ["light"] * (count - 2) + ["dark"] * 2
        return _demo(scribe, _noted(times, words, _call(times[-2], times[-1])))
    first = int(rng.integers(1, count - 1))
    words = ["dark"] * first + [lit] * (count - 1 - first) + ["dark"]
    if rng.random() < 0.4:
        return _demo(scribe, _noted(times, words, _call(times[first - 1], times[-1])))
    front = f"{lit.split()[0]}, " if rng.random() < 0.5 else ""
    said = [(f"\n<answer>{front}from ", False), (times[first], True), (" to ", False)]
    return _demo(scribe, _noted(times, words, [*said, (times[-1], True), (" seconds", False)]))


def time_drills(count: int, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
    """A half of them looked up, a quarter in order, a quarter between."""
    kinds = (looked_up, in_order, looked_up, between)
    return [kinds[i % len(kinds)](scribe, rng) for i in range(count)]


def _call(start: str, end: str) -> list[Part]:
    before = f'\n<tool_call>\n{{"name": "resample", "arguments": {{"video": "{VIDEO}", "span": ['
    return [(before, False), (start, True), (", ", False), (end, True), ("]}}", False)]


def _noted(times: list[str], words: list[str], rest: list[Part]) -> list[Part]:
    notes = ", ".join(f"{t} {w}" for t, w in zip(times, words, strict=True))
    return [(_USER.format(said="when is the flash?") + notes, False), *rest]


def _listed(times: list[str], rng: np.random.Generator) -> str:
    """As frames are told, without them; or in words below them."""
    if rng.random() < 0.5:
        return "".join(f"<{t} seconds>" for t in times)
    return f"{len(times)} frames at {', '.join(times)} s"


def _rising(count: int, rng: np.random.Generator) -> list[str]:
    """Times spread widely, or so densely that whole seconds repeat."""
    width = int(np.exp(rng.uniform(np.log(10), np.log(1200))))
    start = int(rng.integers(0, 1201 - width))
    ticks = start + np.sort(rng.choice(width, count, replace=False))
    return [f"{int(t) / 10:.1f}" for t in ticks]


def _seen(rng: np.random.Generator) -> str:
    color, place = COLORS[int(rng.integers(len(COLORS)))], _PLACES[int(rng.integers(4))]
    return f"{color} {place}"


def _demo(scribe: Scribe, parts: list[Part], views: Sequence[Pixels] = ()) -> Demo:
    """Tokenised as one text, so that pieces are what they are at run time."""
    text = "".join(t for t, _ in parts)
    written = scribe.tokenizer.encode(text, add_special_tokens=False)
    edges: list[bool] = []
    for said, learnt in parts:
        edges += [learnt] * len(said)
    learn = [any(edges[a:b]) and text[a:b].strip() != "" for a, b in written.offsets]
    return Demo(list(written.ids), learn, list(views), None)
