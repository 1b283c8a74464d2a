"""Policies that are told their tools: under fixed names, under ever other names, or some of each.

The comparison behind AdaReasoner's claim on random names, in miniature. All begin with the same
weights, which have learnt to copy names (a skill that a released model has and the clean policy
lacks), see equally many episodes, and differ in one thing: how the tools were called in them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as functional
from tokenizers import Tokenizer

from vtool.families.vlm import VLM

from . import tokenizer as tokens
from .export import export
from .joint_build import begin
from .teach import Lesson, teach
from .told import DIALECT, OFFERED, WORDS, ToldScribe, drill_row, texts

Log = Callable[[dict[str, Any]], None]

LEARNT: Final = tokens.ROWS
DRILL: Final = 600
"""Steps of the drill."""
ROWS: Final = 16
RATE: Final = 2e-3
KINDS: Final = {"one": 0.75, "none": 0.25}
FIRST: Final = Lesson("told, tower frozen", 50, 2e-3, KINDS, frozen=True, batch=16)
WHOLE: Final = Lesson("told", 250, 2e-3, KINDS, cosine=True, batch=16)


def build_base(folder: Path, *, seed: int = 0, steps: int = DRILL, log: Log = print) -> None:
    """The clean policy of the zoom world, which has learnt to copy names, under a new tokenizer.

    Args:
        folder: Written to.
        seed: Of weights and names.
        steps: Of the drill.
        log: Receives one record now and then.
    """
    torch.set_num_threads(1)
    scribe = ToldScribe(new_tokenizer())
    vlm = begin(scribe.tokenizer, seed)
    drill(vlm, scribe, steps, seed, log)
    export(vlm, scribe, folder, "", OFFERED, announce=True, options=DIALECT)


def new_tokenizer(count: int = 120) -> Tokenizer:
    """Of the zoom world and of system turns; every word of a name is one token."""
    return tokens.train(texts(count), (*tokens.NUMBERS, *WORDS), learnt=LEARNT)


def build(
    base: Path, folder: Path, *, share: float, seed: int, scale: float = 1.0, log: Log = print
) -> None:
    """Teach a policy to use the tools that it is told.

    Args:
        base: What `build_base` wrote.
        folder: Written to.
        share: Of episodes that draw names of their own; the others have the tools' own.
        seed: Of the episodes.
        scale: Share of the steps.
        log: Receives one record now and then.
    """
    torch.set_num_threads(1)
    scribe = ToldScribe(Tokenizer.from_file(str(base / "tokenizer.json")), share=share)
    vlm = VLM.load(base)
    for lesson in (FIRST, WHOLE):
        short = replace(lesson, steps=max(2, round(lesson.steps * scale)))
        teach(vlm, scribe, short, seed=seed, log=log, source=scribe.source)
    vlm.eval()
    export(vlm, scribe, folder, "", OFFERED, announce=True, options=DIALECT)


def drill(vlm: VLM, scribe: ToldScribe, steps: int, seed: int, log: Log) -> None:
    """Learn to look a name up by what it stands beside, in place.

    Whole episodes hold few tokens that teach it: started on them, a policy stays for hundreds of
    steps at guessing letters.
    """
    rng = np.random.default_rng([seed, 5])
    optimizer = torch.optim.AdamW(vlm.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.perf_counter()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 30)
        rows = [drill_row(scribe, rng) for _ in range(ROWS)]
        loss = drill_loss(vlm, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vlm.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            seconds = round(time.perf_counter() - began, 1)
            entry = {"stage": "drill", "step": step, "loss": round(loss.item(), 4)}
            log({**entry, "seconds": seconds})


def drill_loss(vlm: VLM, rows: Sequence[tuple[list[int], list[bool]]]) -> torch.Tensor:
    """Cross-entropy of the names that are looked up."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    learn = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, (row, wanted) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        learn[i, : len(row)] = torch.tensor(wanted)
    positions = torch.arange(length).expand(3, len(rows), length)
    hidden = vlm.hidden(ids, positions)
    looked = learn[:, 1:]
    logits = vlm.head(hidden[:, :-1][looked])
    return functional.cross_entropy(logits, ids[:, 1:][looked])
