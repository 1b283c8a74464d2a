"""One tiny policy for several worlds: it reads, points, measures, counts and finds moments.

It begins as the clean policy of the zoom world. Its tokenizer is learnt anew from all worlds, and
what both tokenizers know keeps its embedding. Then it learns the experts' episodes of all worlds
of pictures in one mix, the vision tower frozen at first, with drills of what is looked up and
compared. Videos come last: the tokenizer grows by times and the words of the moment world, frames
are noted in drills, and all worlds are learnt beside each other once more. Tenths of seconds stay
at guessing in all of that; short drills in looking them up mend it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer

from vtool.families.vlm import VLM
from vtool.pairs import load_renderer
from vtool.render import Renderer
from vtool.shipped import shipped
from vtool.worlds import zoom as world
from vtool.worlds.without import Without
from vtool.worlds.world import worlds

from . import tokenizer as tokens
from .expert import Demo, Scribe, retarget
from .expert import example_texts as zoom_texts
from .export import export
from .joint_card import card
from .joint_drill import drills
from .joint_expert import OFFERED, WORLDS, demo_of, episodes, texts_of
from .joint_measure import measure
from .joint_stages import DRILLS, STAGES, beside
from .joint_videos import ROWS, grown
from .spec import new_policy
from .teach import Lesson, Source, teach

Log = Callable[[dict[str, Any]], None]
Pools = Mapping[str, Sequence[Demo]]

PICTURE_MINUTES: Final = 26.0
VIDEO_MINUTES: Final = 48.0
LEARNT: Final = 640
"""Ids given to text before videos come; the embedding has 680 rows."""
POOL: Final = {
    "box": 3000,
    "depth": 1500,
    "mask": 800,
    "detect": 1200,
    "page": 2000,
    "sparse": 1500,
}
"""Episodes of each world that are learnt again and again; the zoom world's are always new."""
AGAIN: Final = {
    "box": 1200,
    "depth": 500,
    "mask": 1000,
    "detect": 400,
    "page": 800,
    "sparse": 600,
}
"""Episodes of pictures that are made anew for what is learnt beside videos."""
SHARES: Final = {
    "zoom": 8,
    "box": 7,
    "depth": 4,
    "mask": 4,
    "detect": 3,
    "page": 3,
    "sparse": 3,
}
"""Of a batch of 32."""
KINDS: Final = {"one": 0.45, "none": 0.15, "two": 0.4}
FIRST: Final = Lesson("joint, tower frozen", 400, 2e-3, KINDS, frozen=True)
WHOLE: Final = Lesson("joint", 1800, 2e-3, KINDS, cosine=True)


def build(
    out: Path | str,
    *,
    seed: int = 0,
    minutes: float | None = None,
    log: Log = print,
    count: int = 100,
    shares: Mapping[str, int] = SHARES,
    videos: bool = True,
) -> dict[str, Any]:
    """Train the joint policy and write it as ``out/joint``.

    Args:
        out: Folder; files of the same names are replaced.
        seed: The same seed gives the same weights on the same machine and thread count.
        minutes: Shrinks pools and stages in proportion to the full recipe's 26 minutes, and 48
            more for videos.
        log: Receives one record (a flat dict) per stage and measurement.
        count: Held-out questions per world.
        shares: Of a batch, by world of pictures; a world that is left out is not taught.
        videos: Whether the moment world is taught at last.

    Returns:
        What was measured, by world.
    """
    torch.set_num_threads(1)
    full = PICTURE_MINUTES + (VIDEO_MINUTES if videos else 0.0)
    scale = 1.0 if minutes is None else min(1.0, minutes / full)
    started = time.perf_counter()

    def tell(entry: dict[str, Any]) -> None:
        log({**entry, "seconds": round(time.perf_counter() - started, 1)})

    folder = Path(out) / "joint"
    vlm, scribe = learn_pictures(folder, shares, seed, scale, tell)
    if videos:
        vlm, scribe = learn_videos(vlm, scribe, folder, seed, scale, tell)
    vlm.eval()
    export(vlm, scribe, folder, "", OFFERED)
    names = (*shares, "moments") if videos else tuple(shares)
    results = measure(folder, count=count, names=names, controls=tuple(Without))
    for name, found in results.items():
        tell({"policy": "joint", "world": name, **found})
    text = card(seed, count, results, {n: worlds.get(n).chance for n in names})
    (folder / "README.md").write_text(text, encoding="utf-8")
    return results


def learn_pictures(
    folder: Path, shares: Mapping[str, int], seed: int, scale: float, log: Log
) -> tuple[VLM, Scribe]:
    """All worlds of pictures, from the clean policy of the zoom world."""
    scribe = Scribe(new_tokenizer(seed))
    vlm = begin(scribe.tokenizer, seed)
    export(vlm, scribe, folder, "", OFFERED)
    taught = {name: POOL[name] for name in POOL if name in shares}
    pools = fill(load_renderer(folder), taught, seed + 1, scale, log)
    for lesson in (FIRST, WHOLE):
        short = shortened(lesson, scale)
        teach(vlm, scribe, short, seed=seed, log=log, source=mix(pools, shares))
    return vlm, scribe


def learn_videos(
    vlm: VLM, scribe: Scribe, folder: Path, seed: int, scale: float, log: Log
) -> tuple[VLM, Scribe]:
    """The moment world beside the others, from a policy that knows these."""
    wider = Scribe(grown(scribe.tokenizer))
    vlm = carried(vlm, scribe.tokenizer, wider.tokenizer, seed, ROWS)
    export(vlm, wider, folder, "", OFFERED)
    pools = fill(load_renderer(folder), AGAIN, seed + 2, scale, log)
    for lesson, mixture in STAGES:
        short = shortened(replace(lesson, kinds=KINDS), scale)
        source = beside(mixture, mix(pools, mixture.pictures, mixture.drills))
        teach(vlm, wider, short, seed=seed, log=log, source=source, numbers=tokens.SECONDS[10:])
    return vlm, wider


def shortened(lesson: Lesson, scale: float) -> Lesson:
    """A part of a lesson, at least two steps."""
    return replace(lesson, steps=max(2, round(lesson.steps * scale)))


def new_tokenizer(seed: int, count: int = 40, zooms: int = 120) -> Tokenizer:
    """The tokenizer of all worlds of pictures together."""
    texts = zoom_texts(zooms)
    for name in WORLDS:
        for played in episodes(name, count, seed + 500):
            texts += 3 * texts_of(played)
    return tokens.train(texts, learnt=LEARNT)


def begin(tokenizer: Tokenizer, seed: int) -> VLM:
    """The clean policy of the zoom world under another tokenizer."""
    known = Tokenizer.from_file(str(shipped("tiny/clean") / "tokenizer.json"))
    return carried(VLM.load(shipped("tiny/clean")), known, tokenizer, seed)


def carried(
    old: VLM, known: Tokenizer, tokenizer: Tokenizer, seed: int, rows: int = tokens.ROWS
) -> VLM:
    """A policy under another tokenizer.

    Tokens that both tokenizers have keep their embedding; the others begin as in a new policy.
    """
    vlm = new_policy(tokenizer, seed + 1, rows=rows)
    theirs, mine = dict(old.model.named_parameters()), dict(vlm.model.named_parameters())
    with torch.no_grad():
        for name, weight in mine.items():
            if "embed_tokens" not in name:
                weight.copy_(theirs[name])
                continue
            for token, row in tokenizer.get_vocab().items():
                if (before := known.token_to_id(token)) is not None:
                    weight[row].copy_(theirs[name][before])
    return vlm


def fill(
    renderer: Renderer, counts: Mapping[str, int], seed: int, scale: float, log: Log
) -> dict[str, list[Demo]]:
    """Demonstrations of each taught world but the zoom world."""
    pools = {}
    for name, full in counts.items():
        made = episodes(name, max(8, round(full * scale)), seed)
        pools[name] = [demo_of(p.episode.final, renderer) for p in made]
        lengths = [len(d.ids) for d in pools[name]]
        log({"pool": name, "episodes": len(lengths), "tokens": round(float(np.mean(lengths)))})
    return pools


def mix(pools: Pools, shares: Mapping[str, int], short: int = DRILLS) -> Source:
    """A source of batches: some episodes of each world, and drills for those that have some."""

    def source(lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
        out = zoom_demos(shares.get("zoom", 0), lesson, scribe, rng)
        out += drills(short, list(shares), scribe, rng)
        for name, pool in pools.items():
            out += [pool[int(i)] for i in rng.integers(0, len(pool), shares.get(name, 0))]
        return out

    return source


def zoom_demos(count: int, lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
    """Fresh demonstrations of the zoom world."""
    out = []
    names, parts = list(lesson.kinds), np.array(list(lesson.kinds.values()))
    for _ in range(count):
        kind = str(rng.choice(names, p=parts / parts.sum()))
        scene = world.draw(int(rng.integers(1 << 40)), kind=kind)
        if kind != "none":
            scene = retarget(scene, int(rng.integers(len(scene.discs))))
        out.append(scribe.demo(scene, rng, lesson.turns))
    return out
