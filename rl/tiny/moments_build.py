"""From nothing to a tiny policy that looks again in time: every stage, in order.

First the vision tower by a probe, then drills in noting what a clip shows when, on a frozen tower,
then whole episodes, at last with some looks refused. A start with bad habits is made of it: what
reinforcement learning has to find again is where to look, how often, and what to say of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vtool.families.vlm import VLM
from vtool.worlds.moments import Ask, Moment, draw

from . import tokenizer as tokens
from .expert import Demo
from .export import export
from .moments_card import card
from .moments_drill import drills
from .moments_expert import (
    SPEC,
    Frames,
    MomentScribe,
    Turn,
    answer_of,
    around,
    cued_window,
    glance,
    glance_notes,
    look,
    look_notes,
    new_tokenizer,
    notes,
    refused,
    turns,
)
from .moments_measure import measure
from .moments_vision import warm_up_frames
from .spec import new_policy
from .teach import Lesson, teach

Log = Callable[[dict[str, Any]], None]

FULL_MINUTES: Final = 20.0
WATCHED: Final = tokens.SECONDS[10:]
"""Tokens whose cross-entropy tells whether times are copied."""
VISION_STEPS: Final = 120
DRILLS: Final = Lesson("drills", 450, 3e-3, frozen=True)
WHOLE: Final = Lesson("whole episodes", 700, 2e-3, cosine=True, frozen=True)
SHARPEN: Final = Lesson("sharpen", 500, 1.5e-3, cosine=True, frozen=True)
WEAKEN: Final = Lesson("weaken", 40, 5e-4, cosine=True)
REFUSED: Final = 16
"""Of so many episodes one is refused its look, so that a policy can answer without one."""


@dataclass(frozen=True, slots=True)
class MomentHabits:
    """Shares of what the spoiled demonstrations do; the words of their answers are right."""

    good: float = 0.2
    elsewhere: float = 0.3
    """Stops its notes anywhere and looks between the last two frames, then answers."""
    direct: float = 0.3
    """Answers at once; a span is the stretch between the cued frames."""
    coarse: float = 0.2
    """Looks once and answers, also where a span is asked for."""


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 100,
) -> dict[str, Any]:
    """Train the clean and the weak start and write them as ``out/clean`` and ``out/weak``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks every stage in proportion to the full recipe's 20 minutes; ``None`` runs
            the full recipe. A tenth of it makes a smoke test, not a policy.
        log: Receives one record (a flat dict) per stage and measurement.
        count: Held-out videos per measurement.

    Returns:
        What was measured, by policy and kind of question.
    """
    torch.set_num_threads(1)
    scale = 1.0 if minutes is None else min(1.0, minutes / FULL_MINUTES)
    started = time.perf_counter()

    def tell(entry: dict[str, Any]) -> None:
        log({**entry, "seconds": round(time.perf_counter() - started, 1)})

    scribe = MomentScribe(new_tokenizer())
    vlm = new_policy(scribe.tokenizer, seed + 1, SPEC)
    warm_up_frames(vlm, seed=seed, steps=max(2, round(VISION_STEPS * scale)), log=tell)
    run_lesson(vlm, scribe, DRILLS, seed, scale, tell, drill_demos)
    run_lesson(vlm, scribe, WHOLE, seed, scale, tell, mixed_demos)
    run_lesson(vlm, scribe, SHARPEN, seed, scale, tell, sharpening_demos)
    results = {}
    for name in ("clean", "weak"):
        if name == "weak":
            run_lesson(vlm, scribe, WEAKEN, seed, scale, tell, spoiled_demos)
        vlm.eval()
        folder = Path(out) / name
        export(vlm, scribe, folder, "", ("resample",))
        results[name] = measure(folder, count=count)
        for kind, found in results[name].items():
            tell({"policy": name, "questions": kind, **found})
        text = card(name, seed, count, results[name])
        (folder / "README.md").write_text(text, encoding="utf-8")
    return results


def run_lesson(
    vlm: VLM,
    scribe: MomentScribe,
    lesson: Lesson,
    seed: int,
    scale: float,
    log: Log,
    source: Callable[..., list[Demo]],
) -> None:
    """One stage, shortened, at least two steps."""
    short = replace(lesson, steps=max(2, round(lesson.steps * scale)))
    teach(vlm, scribe, short, seed=seed, log=log, source=source, numbers=WATCHED)


def drill_demos(lesson: Lesson, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """A fresh batch of drills."""
    return drills(lesson.batch, scribe, rng)


def mixed_demos(lesson: Lesson, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """The expert's episodes and, a quarter of the batch, drills: so that these are not lost."""
    some = lesson.batch // 4
    mine = replace(lesson, batch=lesson.batch - some)
    return [*drills(some, scribe, rng), *expert_demos(mine, scribe, rng)]


def sharpening_demos(lesson: Lesson, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """As `mixed_demos`, some of the looks refused."""
    some = max(1, lesson.batch // REFUSED)
    mine = replace(lesson, batch=lesson.batch - some)
    return [*refused_demos(some, scribe, rng), *mixed_demos(mine, scribe, rng)]


def refused_demos(count: int, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """Episodes of an expert that gets no look."""
    out = []
    for _ in range(count):
        moment, ask = draw(int(rng.integers(1 << 40))), Ask(rng.choice(list(Ask)))
        out.append(scribe.write(moment, ask, *refused(moment, ask, rng)))
    return out


def expert_demos(lesson: Lesson, scribe: MomentScribe, rng: np.random.Generator) -> list[Demo]:
    """A fresh batch of the expert's episodes, several questions about each video."""
    out: list[Demo] = []
    while len(out) < lesson.batch:
        moment = draw(int(rng.integers(1 << 40)))
        for ask in rng.permutation(list(Ask))[: lesson.asked]:
            made, shown = turns(moment, Ask(ask))
            out.append(scribe.write(moment, Ask(ask), made[: lesson.turns], shown))
    return out[: lesson.batch]


def spoiled_demos(
    lesson: Lesson,
    scribe: MomentScribe,
    rng: np.random.Generator,
    habits: MomentHabits | None = None,
) -> list[Demo]:
    """A batch of episodes with bad habits, some of the looks refused."""
    out = refused_demos(max(1, lesson.batch // REFUSED), scribe, rng)
    while len(out) < lesson.batch:
        moment = draw(int(rng.integers(1 << 40)))
        for ask in rng.permutation(list(Ask))[: lesson.asked]:
            made, shown = spoil(moment, Ask(ask), rng, habits or MomentHabits())
            out.append(scribe.write(moment, Ask(ask), made, shown))
    return out[: lesson.batch]


def spoil(
    moment: Moment, ask: Ask, rng: np.random.Generator, habits: MomentHabits
) -> tuple[list[Turn], list[Frames]]:
    """An episode with one of the habits."""
    shares = np.array([habits.good, habits.elsewhere, habits.direct, habits.coarse])
    habit = int(rng.choice(4, p=shares / shares.sum()))
    if habit == 0:
        return turns(moment, ask)
    if habit == 3:
        return turns(moment, ask, fine=False)
    first = glance(moment)
    if habit == 2:
        window = cued_window(moment, first)
        answer = answer_of(moment, ask, window)
        return [Turn(glance_notes(moment, first), answer=answer)], [first]
    at = int(rng.integers(1, len(first.times)))
    window = (first.times[at - 1], first.times[at])
    seen = look(moment, window)
    found = around(moment, seen, window) or (window[0], *window)
    answer = answer_of(moment, ask, (found[1], found[2]))
    made = [Turn(notes(moment, first, at), window=window)]
    return [*made, Turn(look_notes(moment, seen), answer=answer)], [first, seen]
