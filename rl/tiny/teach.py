"""Stages C and D: learn the expert's episodes, easy pictures first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as functional

from vtool.families.vlm import VLM
from vtool.worlds import zoom as world

from .batch import collate, see
from .expert import Demo, Scribe, retarget
from .textures import textures
from .tokenizer import NUMBERS

Log = Callable[[dict[str, object]], None]
Source = Callable[["Lesson", Scribe, np.random.Generator], list[Demo]]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One stage of teaching."""

    name: str
    steps: int
    """At most this many."""
    rate: float
    """Peak learning rate."""
    kinds: Mapping[str, float] = field(default_factory=lambda: {"one": 1.0})
    """Share of each kind of question."""
    objects: int = 4
    turns: int = 3
    """Episodes are cut after this many turns of the policy."""
    frozen: bool = False
    """Leave the vision tower as it is."""
    cosine: bool = False
    """Let the rate fall to zero."""
    until: float | None = None
    """End once the running cross-entropy of the coordinates is below this."""
    batch: int = 32
    asked: int = 2
    """Questions about one picture."""
    sizes: tuple[tuple[int, int], ...] = (world.FIXED,)
    clutter: float = 0.0
    """Share of pictures with a textured background."""


def demos(lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
    """A fresh batch of demonstrations."""
    out: list[Demo] = []
    names, shares = list(lesson.kinds), np.array(list(lesson.kinds.values()))
    while len(out) < lesson.batch:
        kind = str(rng.choice(names, p=shares / shares.sum()))
        size = lesson.sizes[int(rng.integers(len(lesson.sizes)))]
        scene = world.draw(
            int(rng.integers(1 << 40)),
            kind=kind,
            objects=lesson.objects,
            size=size,
            photos=textures() if rng.random() < lesson.clutter else (),
        )
        if kind == "none":
            out.append(scribe.demo(scene, rng))
            continue
        for index in rng.permutation(len(scene.discs))[: lesson.asked]:
            out.append(scribe.demo(retarget(scene, int(index)), rng, lesson.turns))
    return out[: lesson.batch]


def policy_loss(
    vlm: VLM, rows: Sequence[Demo], image: int, *, frozen: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of every learnt token, and those tokens.

    Rows with equally many pictures go through the model together, since short rows padded to the
    length of long ones would double the work.
    """
    groups: dict[int, list[Demo]] = {}
    for demo in rows:
        groups.setdefault(len(demo.views), []).append(demo)
    batches = [collate(groups[count], image, family=vlm.family) for count in sorted(groups)]
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        vision, places = see(vlm, [v for batch in batches for v in batch.views])
    losses, tokens = [], []
    for batch in batches:
        count = int((batch.ids == image).sum())
        mine, places = places[:count], places[count:]
        # Padding is on the right and attention is causal, so that no mask is needed.
        hidden = vlm.hidden(batch.ids, batch.positions, vision=vision, rows=mine)
        learn = batch.learn[:, 1:]
        tokens.append(batch.ids[:, 1:][learn])
        logits = vlm.head(hidden[:, :-1][learn])
        losses.append(functional.cross_entropy(logits, tokens[-1], reduction="none"))
    return torch.cat(losses), torch.cat(tokens)


def teach(
    vlm: VLM,
    scribe: Scribe,
    lesson: Lesson,
    *,
    seed: int,
    log: Log,
    every: int = 50,
    source: Source = demos,
    numbers: Sequence[str] = NUMBERS,
) -> float:
    """Run one lesson in place.

    Args:
        vlm: The policy, changed in place.
        scribe: Its tokenizer.
        lesson: What to learn, for how long.
        seed: The same seed gives the same weights.
        log: Receives one record now and then.
        every: Steps between records.
        source: Makes a batch; the expert's demonstrations by default.
        numbers: Tokens whose cross-entropy is watched.

    Returns:
        Running cross-entropy of the coordinate tokens at the end.
    """
    rng = np.random.default_rng([seed, 2, *lesson.name.encode()])
    watched = torch.tensor([scribe.tokenizer.token_to_id(n) for n in numbers])
    seen = {id(p) for p in vlm.vision.parameters()} if lesson.frozen else set()
    weights = [p for p in vlm.parameters() if id(p) not in seen]
    optimizer = torch.optim.AdamW(weights, lr=lesson.rate, betas=(0.9, 0.98), weight_decay=0.01)
    running, mean, started = math.nan, math.nan, time.process_time()
    for step in range(lesson.steps):
        scale = min(1.0, (step + 1) / 30)
        if lesson.cosine:
            scale *= 0.5 * (1 + math.cos(math.pi * step / lesson.steps))
        optimizer.param_groups[0]["lr"] = lesson.rate * max(scale, 0.01)
        rows = source(lesson, scribe, rng)
        losses, wanted = policy_loss(vlm, rows, scribe.image, frozen=lesson.frozen)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            at = float(losses[torch.isin(wanted, watched)].mean())
            running = at if math.isnan(running) else 0.9 * running + 0.1 * at
            now = float(losses.mean())
            mean = now if math.isnan(mean) else 0.9 * mean + 0.1 * now
        done = lesson.until is not None and step > 50 and running < lesson.until
        if step % every == 0 or done or step == lesson.steps - 1:
            cpu = round(time.process_time() - started, 1)
            entry = {"stage": lesson.name, "step": step, "loss": round(mean, 4)}
            log({**entry, "coordinates": round(running, 4), "cpu_s": cpu})
        if done:
            break
    return running
