"""Starts that call the tool too often: grounds for claims on needless calls.

`restless` was shown needless looks for a short while and is mostly wrong after one, so that a
needless look costs it right answers. `idle` was shown them for longer and is nearly as often right
after one as without: there a needless look costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
"""What `restless` takes; `idle` takes some times that."""
KINDS: Final = {"one": 0.45, "none": 0.45, "two": 0.1}
LESSONS: Final[Mapping[str, Lesson]] = {
    "restless": Lesson("restless", 40, 1e-3, KINDS),
    "idle": Lesson("idle", 240, 1e-3, KINDS, cosine=True),
}
HABITS: Final = Habits(good=0.5, random_box=0.2, direct=0.3, needless=0.5)


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 400,
    name: str = "restless",
) -> dict[str, Any]:
    """Spoil the clean policy so and write it as ``out/NAME``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks the steps in proportion to the full recipe's one minute.
        log: Receives one record (a flat dict) now and then.
        count: Held-out pictures per measurement.
        name: ``restless`` or ``idle``.

    Returns:
        What was measured, by kind of question.
    """
    torch.set_num_threads(1)
    clean = shipped("tiny/clean")
    scribe, vlm = Scribe(Tokenizer.from_file(str(clean / "tokenizer.json"))), VLM.load(clean)
    scale = 1.0 if minutes is None else min(1.0, minutes / FULL_MINUTES)
    lesson = replace(LESSONS[name], steps=shrink(LESSONS[name].steps, scale))
    weaken(vlm, scribe, lesson, seed=seed, log=log, habits=HABITS)
    found = report(vlm, scribe, name, count, log)
    export(vlm, scribe, Path(out) / name, card(name, seed, found))
    return found
