"""Drills: short texts in which nearly every token must be looked up.

Whole episodes hold few tokens that teach where to look: the rest is template. Started on them, the
policy stays for hundreds of steps at the unconditional distribution of times and colours. Two
drills teach the looking-up by itself first: to copy times, and to note of every frame of a clip
when it is and what it shows. An episode's thoughts are such notes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtool.worlds.drawing import Pixels
from vtool.worlds.moments import Moment, draw

from .expert import Demo
from .moments_expert import Frames, MomentScribe, word

COUNT = 8


def copy_drill(scribe: MomentScribe, rng: np.random.Generator) -> Demo:
    """Some times, and the same again."""
    drawn = rng.permutation(_ticks(rng))
    times = ", ".join(str(int(t) / 10) for t in drawn)
    return scribe.say(f"{times}", times, [], draw(0))


def frame_drill(scribe: MomentScribe, rng: np.random.Generator) -> Demo:
    """Frames of several videos with rising times, and a word for each of them."""
    times = tuple(int(t) / 10 for t in _ticks(rng))
    views: list[Pixels] = []
    words = []
    moments = [draw(int(s)) for s in rng.integers(0, 1 << 40, 3)]
    for time in times:
        moment = moments[int(rng.integers(len(moments)))]
        view, word = _frame(moment, int(rng.integers(4)))
        views.append(view)
        words.append(f"{time} {word}")
    shown = Frames(tuple(range(len(times))), times)
    return scribe.say(scribe.clip(shown), ", ".join(words), views, moments[0])


def _ticks(rng: np.random.Generator) -> NDArray[np.int64]:
    """Rising tenths of seconds, spread widely or so densely that whole seconds repeat."""
    width = int(np.exp(rng.uniform(np.log(10), np.log(1200))))
    start = int(rng.integers(0, 1201 - width))
    if rng.random() < 0.5:
        return start + np.unique(np.linspace(0, width - 1, COUNT).astype(np.int64))
    return start + np.sort(rng.choice(width, COUNT, replace=False)).astype(np.int64)


def _frame(moment: Moment, which: int) -> tuple[Pixels, str]:
    if which == 0:
        outside = 0 if moment.cue[0] else len(moment.ticks) - 1
        row = outside
    else:
        row = moment.cue[0] if which == 1 else moment.flash[0]
    return moment.frame(row), word(moment, row)


def drills(count: int, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """A batch, a quarter of it copying."""
    return [
        copy_drill(scribe, rng) if i % 4 == 0 else frame_drill(scribe, rng) for i in range(count)
    ]
