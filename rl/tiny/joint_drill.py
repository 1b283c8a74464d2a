"""Drills without pictures: what an episode's last step looks up or compares, and nothing else.

Whole episodes hold one token in a hundred that must be looked up (which ring is point 2?) or
compared (is 9 the digit that is wanted?). Taught by them alone, the joint policy stayed at
guessing there after 1800 steps. A drill is the words of an episode around that token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from vtool.worlds.drawing import COLORS

from .expert import Demo, Scribe
from .joint_expert import compared, covers, named_points

_USER: Final = "<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
_TOOL: Final = (
    "<|im_end|>\n<|im_start|>user\n<tool_response>\n{said}\n</tool_response><|im_end|>\n"
    "<|im_start|>assistant\n"
)


def drills(
    count: int, names: Sequence[str], scribe: Scribe, rng: np.random.Generator
) -> list[Demo]:
    """Equally many for each world that has one, in turn.

    Args:
        count: How many for a world.
        names: Worlds that are taught.
        scribe: Writes ids.
        rng: Of what they say.
    """
    kinds = [drill for name, drill in DRILLS.items() if name in names]
    return [drill(scribe, rng) for _ in range(count) for drill in kinds]


def digits(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Whether the digit that was read is the one that is wanted; half of the time it is."""
    wanted = str(rng.integers(10))
    read = wanted if rng.random() < 0.5 else str(rng.integers(10))
    asked = _USER.format(said=f"where is the circle with the digit {wanted}?")
    # What was read comes from a picture: it is given here, not learnt.
    seen, decided = compared(read, wanted).split(" Wanted")
    return _demo(scribe, asked + seen, f" Wanted{decided}")


def points(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Which ring is the point that the tool tells first."""
    names = _colors(rng)
    places = [(float(x), float(y)) for x, y in rng.random((2, 2))]
    asked = _USER.format(said=f"which is nearer, the {names[0]} or the {names[1]} ring?")
    order = [int(i) + 1 for i in rng.permutation(2)]
    depths = sorted(round(float(d), 4) for d in rng.uniform(0.04, 0.1, 2))
    rows = [
        {"image": 1, "label": f"point {i}", "point": _rounded(places[i - 1]), "relative_depth": d}
        for i, d in zip(order, depths, strict=True)
    ]
    told = "\n".join(["Nearest first, without a unit.", *(json.dumps(r) for r in rows)])
    before = asked + named_points(names, places) + "." + _TOOL.format(said=told)
    first = names[order[0] - 1]
    return _demo(scribe, before, f"point {order[0]} {first}.\n<answer>{first}</answer><|im_end|>")


def shares(scribe: Scribe, rng: np.random.Generator) -> Demo:
    """Which of two shapes covers more."""
    names = _colors(rng)
    sizes = [round(float(s), 4) for s in rng.uniform(0.005, 0.06, 2)]
    asked = _USER.format(said=f"which shape covers more, the {names[0]} or the {names[1]} one?")
    larger = names[int(sizes[1] > sizes[0])]
    before = asked + covers(names, sizes).strip()
    return _demo(scribe, before, f"\n<answer>{larger}</answer><|im_end|>")


def _colors(rng: np.random.Generator) -> list[str]:
    return [COLORS[int(i)] for i in rng.permutation(len(COLORS))[:2]]


def _rounded(place: Sequence[float]) -> list[int]:
    return [round(v * 100) * 10 for v in place]


def _demo(scribe: Scribe, before: str, learnt: str) -> Demo:
    known, said = scribe._encode(before), scribe._encode(learnt)
    return Demo([*known, *said], [False] * len(known) + [True] * len(said), [], None)


DRILLS: Final[dict[str, Callable[[Scribe, np.random.Generator], Demo]]] = {
    "box": digits,
    "depth": points,
    "mask": shares,
}
"""By world."""
