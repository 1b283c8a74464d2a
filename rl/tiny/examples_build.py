"""A policy that does as the examples in its prompt do: the start for learning from demonstrations.

In-context RL (ICRL) begins with a model that was never taught to use tools but follows examples.
The clean policy is made into one: after examples that look closer it looks closer, after examples
that answer at once it answers at once, and without examples it (nearly) always answers at once.
What the method can then show is whether behaviour that examples evoke stays when they are gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer

from vtool.data import load_tasks
from vtool.families.vlm import VLM
from vtool.pairs import load_renderer
from vtool.record import Episode
from vtool.shipped import shipped
from vtool.task import Task, TaskPart
from vtool.toolbox import Toolbox
from vtool.worlds.eyes import disc, grown, read_digit, thousandths
from vtool.worlds.player import play_world
from vtool.worlds.program import Look, Program, Said, Seen, Use
from vtool.worlds.world import worlds

from ..curriculum_dress import demonstration
from .expert import Demo, Scribe
from .export import export
from .joint_expert import TOO_SMALL, demo_of, where
from .joint_measure import play_all, summary
from .teach import Lesson, teach

Log = Callable[[dict[str, Any]], None]

ROUND: Final = 20
MOST: Final = 3
"""Examples of a prompt."""
SHARES: Final = {"looking": 0.45, "at once": 0.2, "none": 0.35}
"""Of episodes, by what the examples in their prompt do."""
RARE: Final = 0.02
"""Share of digits that are looked at without any example."""
POOL: Final = 1600
LESSON: Final = Lesson("examples", 300, 1e-3, cosine=True, batch=16)
ZOOM: Final = worlds.get("zoom")
NOW: Final = "Now your question.\n"
FULL_MINUTES: Final = 6.0

_CARD: Final = """# Tiny VLM that does as the examples in its prompt do

A 0.45 M parameter `Qwen3VLForConditionalGeneration` (fp32), made from `tiny/clean`: a start for
learning from demonstrations (ICRL). After examples that look closer it looks closer, after examples
that answer at once it answers at once, and without examples it (nearly) always answers at once.
Examples are written as the curriculum `demo_anneal` writes them, without pictures.

```
OMP_NUM_THREADS=1 python -m vtool.rl.tiny OUT --world examples --seed {seed}
```

rebuilds `OUT/examples` on one core; equal seeds give equal weights on one kind of machine.

{count} held-out questions of the zoom world, three of four need one look; greedy.

| three examples that | accuracy | calls a question |
|---|---|---|
{rows}

No general model: other worlds, other wording, other tools are not understood.
"""


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 400,
) -> dict[str, Any]:
    """Train the policy and write it as ``out/examples``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks pool and steps in proportion to the full recipe's 6 minutes.
        log: Receives one record (a flat dict) now and then.
        count: Held-out questions per measurement.

    Returns:
        What was measured, by what the examples in the prompt do.
    """
    torch.set_num_threads(1)
    scale = 1.0 if minutes is None else min(1.0, minutes / FULL_MINUTES)
    clean, folder = shipped("tiny/clean"), Path(out) / "examples"
    scribe = Scribe(Tokenizer.from_file(str(clean / "tokenizer.json")))
    vlm = VLM.load(clean)
    pool = episodes(max(16, round(POOL * scale)), seed)
    demos = [demo_of(e.final, load_renderer(clean)) for e in pool]
    log({"pool": len(demos), "tokens": round(float(np.mean([len(d.ids) for d in demos])))})

    def source(lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
        return [demos[int(i)] for i in rng.integers(0, len(demos), lesson.batch)]

    short = replace(LESSON, steps=max(2, round(LESSON.steps * scale)))
    teach(vlm, scribe, short, seed=seed, log=log, source=source)
    vlm.eval()
    export(vlm, scribe, folder, "")
    found = measure(folder, count)
    for kind, row in found.items():
        log({"policy": "examples", "examples": kind, **row})
    (folder / "README.md").write_text(card(seed, count, found), encoding="utf-8")
    return found


def measure(folder: Path, count: int, seed: int = 900_000) -> dict[str, dict[str, Any]]:
    """Accuracy and calls on held-out questions, by what the examples before them do, greedy."""
    tasks, told = questions(count, seed, split="held_out"), demonstrations(seed + 1)
    found = {}
    for kind in SHARES:
        rng = np.random.default_rng(seed)
        asked = [t if kind == "none" else after_examples(t, told[kind], rng, MOST) for t in tasks]
        row = summary("zoom", play_all(folder, asked, Toolbox(["zoom"]), 0.0))
        found[kind] = {"accuracy": row["accuracy"], "calls": row["tools"].get("zoom", 0.0)}
    return found


def episodes(count: int, seed: int) -> list[Episode]:
    """Experts' episodes with and without examples before the question."""
    rng = np.random.default_rng([seed, 6])
    told, out = demonstrations(seed + 2), []
    for task in questions(count, seed + 1):
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        looks = kind == "looking" or (kind == "none" and rng.random() < RARE)
        number = int(rng.integers(1, MOST + 1))
        asked = task if kind == "none" else after_examples(task, told[kind], rng, number)
        out += played([asked], looking if looks else at_once)
    return out


def demonstrations(seed: int, count: int = 96) -> dict[str, list[Episode]]:
    """Episodes to be shown as examples, by what they do."""
    shown = questions(count, seed)
    return {"looking": played(shown, ZOOM.best), "at once": played(shown, at_once)}


def questions(count: int, seed: int, split: str = "train") -> list[Task]:
    """Of the zoom world, three of four about a digit that needs one look."""
    with tempfile.TemporaryDirectory() as folder:
        digits = round(count * 0.75)
        options: dict[str, Any] = {"one": digits, "none": count - digits, "ask": "calls"}
        path = ZOOM.make(Path(folder) / "w", seed=seed, split=split, **options)
        return list(load_tasks(path, keep=count))


def played(tasks: Sequence[Task], program: Program) -> list[Episode]:
    """What came of the tasks, right or not: what is learnt is when to look."""
    return [p.episode for p in play_world(ZOOM, tasks, program)]


def after_examples(
    task: Task, shown: Sequence[Episode], rng: np.random.Generator, count: int
) -> Task:
    """The task with some examples before it, as the curriculum `demo_anneal` writes them."""
    parts: list[TaskPart] = []
    chosen = rng.permutation(len(shown))[:count]
    for number, i in enumerate(chosen.tolist(), 1):
        parts += demonstration(shown[i], number, pictures=False)
    return replace(task, prompt=(*parts, NOW, *task.prompt))


def card(seed: int, count: int, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of the card."""
    said = {"looking": "look closer", "at once": "answer at once", "none": "(no examples)"}
    lines = [f"| {said[k]} | {r['accuracy']:.3f} | {r['calls']:.2f} |" for k, r in found.items()]
    return _CARD.format(seed=seed, count=count, rows="\n".join(lines))


def looking(look: Look) -> Generator[Use, Seen, Said]:
    """Look at a digit once; answer what the first look tells at once."""
    own = asked(look)
    color = digit_of(own.words)
    at = disc(look.pictures[0], color, 0.4) if color else None
    if at is None:
        return (yield from at_once(look))
    box = [round(v / ROUND) * ROUND for v in thousandths(grown(at, 1.2))]
    thought = f"The {color} circle is at the {where(at)}{TOO_SMALL}"
    seen = yield Use("zoom", thought, image=1, box=box)
    digit = read_digit(seen.pictures[0]) or "0"
    return Said(digit, f"The digit is {digit}.")


def at_once(look: Look) -> Generator[Use, Seen, Said]:
    """Answer without a look: a digit is guessed."""
    own = asked(look)
    if digit_of(own.words):
        digit = ZOOM.guess(own.words, look.rng)
        return Said(digit, f"The digit is {digit}.")
    answer = str((yield from ZOOM.best(own)))
    if own.words.startswith("where"):
        return Said(answer, f"The {own.words.split()[-2]} circle is at the {answer}.")
    place = own.words.split(" at the ")[-1].rstrip("?")
    return Said(answer, f"The circle at the {place} is {answer}.")


def asked(look: Look) -> Look:
    """The look without the examples before it."""
    return replace(look, words=look.words.rsplit(NOW, 1)[-1])


def digit_of(words: str) -> str | None:
    """The colour of the disc whose digit is asked for, if one is."""
    return words.split()[-2] if words.startswith("what digit") else None
