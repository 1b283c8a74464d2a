"""A start that calls the tool too often: ground for claims on needless calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer

from vtool.families.vlm import VLM
from vtool.shipped import shipped

from .card import card
from .expert import Scribe
from .export import export
from .teach import Lesson
from .warmstart import report, shrink
from .weaken import Habits, weaken

Log = Callable[[dict[str, Any]], None]

FULL_MINUTES: Final = 1.0
KINDS: Final = {"one": 0.45, "none": 0.45, "two": 0.1}
LESSON: Final = Lesson("restless", 40, 1e-3, KINDS)
HABITS: Final = Habits(good=0.5, random_box=0.2, direct=0.3, needless=0.5)


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 400,
) -> dict[str, Any]:
    """Spoil the clean policy so and write it as ``out/restless``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks the steps in proportion to the full recipe's one minute.
        log: Receives one record (a flat dict) now and then.
        count: Held-out pictures per measurement.

    Returns:
        What was measured, by kind of question.
    """
    torch.set_num_threads(1)
    clean = shipped("tiny/clean")
    scribe, vlm = Scribe(Tokenizer.from_file(str(clean / "tokenizer.json"))), VLM.load(clean)
    scale = 1.0 if minutes is None else min(1.0, minutes / FULL_MINUTES)
    lesson = replace(LESSON, steps=shrink(LESSON.steps, scale))
    weaken(vlm, scribe, lesson, seed=seed, log=log, habits=HABITS)
    found = report(vlm, scribe, "restless", count, log)
    export(vlm, scribe, Path(out) / "restless", card("restless", seed, found))
    return found
