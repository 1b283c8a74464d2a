"""From nothing to a tiny policy that looks closer: every stage, in order.

Easy pictures first is what makes it work. With one disc the language model learns to say where
something is; with two it must bind a colour to a place; four are then a small step. Started on
four discs it stays at the unconditional distribution of boxes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from vtool.families.vlm import VLM

from . import tokenizer as tokens
from .card import card
from .expert import Scribe, example_texts
from .export import export
from .monitor import Control, measure, without_tool
from .spec import new_policy
from .teach import Lesson, teach
from .vision import warm_up_vision
from .weaken import Habits, weaken

Log = Callable[[dict[str, Any]], None]

FULL_MINUTES: Final = 15.0
VISION_STEPS: Final = 1500
_FIRST: Final = {"one": 0.6, "none": 0.4}
_MIX: Final = {"one": 0.3, "none": 0.3, "two": 0.4}
_LAST: Final = {"one": 0.45, "none": 0.15, "two": 0.4}
LESSONS: Final = (
    Lesson("one disc", 200, 3e-3, _FIRST, objects=1, turns=1, frozen=True, until=1.5),
    Lesson("two discs", 300, 3e-3, _FIRST, objects=2, turns=1, frozen=True, until=1.0),
    Lesson("four discs", 300, 3e-3, _FIRST, turns=1, frozen=True, until=0.8, clutter=0.15),
    Lesson("end to end", 700, 2e-3, _MIX, cosine=True, clutter=0.25),
    Lesson("polish", 400, 2e-3, _LAST, cosine=True, clutter=0.15),
)
WEAKEN: Final = Lesson("weaken", 40, 1e-3, {"one": 0.55, "none": 0.3, "two": 0.15}, clutter=0.15)
HABITS: Final = Habits(good=0.25, random_box=0.45, direct=0.3)


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 400,
) -> dict[str, Any]:
    """Train the clean and the weak start and write them as ``out/clean`` and ``out/weak``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks every stage in proportion to the full recipe's 15 minutes; ``None`` runs
            the full recipe. A tenth of it makes a smoke test, not a policy.
        log: Receives one record (a flat dict) per stage and measurement.
        count: Held-out pictures per measurement.

    Returns:
        What was measured, by policy and kind of question.
    """
    torch.set_num_threads(1)
    scale = 1.0 if minutes is None else min(1.0, minutes / FULL_MINUTES)
    started = time.perf_counter()

    def tell(entry: dict[str, Any]) -> None:
        log({**entry, "seconds": round(time.perf_counter() - started, 1)})

    scribe = Scribe(tokens.train(example_texts()))
    vlm = new_policy(scribe.tokenizer, seed + 1)
    warm_up_vision(vlm, seed=seed, steps=shrink(VISION_STEPS, scale), log=tell)
    for lesson in LESSONS:
        short = replace(lesson, steps=shrink(lesson.steps, scale))
        teach(vlm, scribe, short, seed=seed, log=tell)
    results = {"clean": report(vlm, scribe, "clean", count, tell)}
    export(vlm, scribe, Path(out) / "clean", card("clean", seed, results["clean"]))
    weaken(vlm, scribe, WEAKEN, seed=seed, log=tell, habits=HABITS)
    results["weak"] = report(vlm, scribe, "weak", count, tell)
    export(vlm, scribe, Path(out) / "weak", card("weak", seed, results["weak"]))
    return results


def shrink(steps: int, scale: float) -> int:
    """Steps of a shortened stage, at least two."""
    return max(2, round(steps * scale))


def report(vlm: VLM, scribe: Scribe, name: str, count: int, log: Log) -> dict[str, Any]:
    """Measure a policy on held-out pictures, with controls.

    Returns:
        Accuracy, format, calls, hit and IoU for every kind of question and control.
    """
    vlm.eval()
    runs: list[tuple[str, str, float, Control]] = [
        (kind, kind, 0.0, Control.REAL) for kind in ("none", "one", "two")
    ]
    runs += [(f"{kind}, sampled", kind, 1.0, Control.REAL) for kind in ("one", "two")]
    runs += [
        (f"one, {control.value}", "one", 0.0, control)
        for control in Control
        if control is not Control.REAL
    ]
    found: dict[str, Any] = {"count": count}
    for title, kind, temperature, control in runs:
        found[title] = measure(
            vlm, scribe, kind, count=count, temperature=temperature, control=control
        )
        log({"policy": name, "questions": title, **found[title]})
    found["without_tool"] = without_tool(vlm, scribe, count=count)
    log({"policy": name, "questions": "one, tool off", "accuracy": found["without_tool"]})
    return found
