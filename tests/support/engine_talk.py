"""Conversations with a small model through an engine, and what one full forward says of them."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import torch
from pictures import textured

from vtool.engines.base import Picture, Prompt, Request
from vtool.record import Run, Sampling

TEXT = 100
"""Ids below this are text; the model's control tokens are the last four."""


@dataclass
class Talk:
    """A context as it grows: ids, pictures, boundaries, and the log-probs of what was drawn."""

    vlm: object
    key: tuple = (0,)
    ids: list = field(default_factory=list)
    pictures: list = field(default_factory=list)
    boundaries: list = field(default_factory=list)
    drawn: list = field(default_factory=list)
    """(index, log-prob) of every drawn token."""
    turns: int = 0

    def say(self, seed, before, shown=(), after=0):
        """Append a segment: text, pictures (width, height, seed), text."""
        rng = np.random.default_rng(seed)
        self.ids += rng.integers(0, TEXT, before).tolist()
        for width, height, number in shown:
            patches = self.vlm.family.patches(textured(width, height, number))
            count = patches.tokens(self.vlm.family.spec.merge)
            self.ids.append(self.vlm.vision_start_id)
            run = Run(len(self.ids), count, patches.grid)
            self.pictures.append(Picture(run, f"{width}x{height}-{number}", patches))
            self.ids += [self.vlm.image_token_id] * count + [self.vlm.vision_end_id]
        self.ids += rng.integers(0, TEXT, after).tolist()
        self.boundaries.append(len(self.ids))
        return self

    def copy(self, *key):
        return Talk(
            self.vlm,
            key or self.key,
            list(self.ids),
            list(self.pictures),
            list(self.boundaries),
            list(self.drawn),
            self.turns,
        )

    @property
    def prompt(self):
        ids = np.array(self.ids, dtype=np.int32)
        return Prompt(ids, tuple(self.pictures), tuple(self.boundaries))

    def request(self, **sampling):
        stop = sampling.pop("stop_ids", ())
        forbidden = sampling.pop("forbidden_ids", ())
        wish = Sampling(**{"max_tokens": 8, **sampling})
        key = (*self.key, self.turns)
        return Request(
            prompt=self.prompt, sampling=wish, stop_ids=stop, forbidden_ids=forbidden, key=key
        )

    def take(self, completion):
        """Append a completion as a segment of its own."""
        at = len(self.ids)
        self.ids += completion.ids.tolist()
        self.drawn += [(at + i, lp) for i, lp in enumerate(completion.logprobs.tolist())]
        self.boundaries.append(len(self.ids))
        self.turns += 1
        return completion

    async def ask(self, engine, **sampling):
        return self.take(await engine.generate(self.request(**sampling)))


def serve(engine, talks, **sampling):
    """One completion each, all asked at once; returns the completions."""

    async def all_of_them():
        return await asyncio.gather(*(t.ask(engine, **sampling) for t in talks))

    return asyncio.run(all_of_them())


def full_logprobs(vlm, talks):
    """Log-probs of the drawn tokens by one forward over whole contexts, padded right."""
    width = max(len(t.ids) for t in talks)
    ids = torch.zeros(len(talks), width, dtype=torch.long)
    mask = torch.zeros(len(talks), width, dtype=torch.long)
    positions = torch.zeros(3, len(talks), width, dtype=torch.long)
    for row, talk in enumerate(talks):
        n = len(talk.ids)
        ids[row, :n] = torch.tensor(talk.ids)
        mask[row, :n] = 1
        blocks = [vlm.family.block(p.run.start, p.run.grid) for p in talk.pictures]
        positions[:, row, :n] = torch.from_numpy(vlm.family.positions(n, blocks))
    with torch.no_grad():
        shown = [p.patches for t in talks for p in t.pictures]
        vision = vlm.encode(shown) if shown else None
        hidden = vlm.hidden(ids, positions, attention_mask=mask, vision=vision)
        logprobs = vlm.head(hidden).float().log_softmax(-1)
    return [[float(logprobs[r, i - 1, t.ids[i]]) for i, _ in t.drawn] for r, t in enumerate(talks)]


def gap(vlm, talks):
    """Largest distance between the engine's log-probs and the full forward's."""
    full = full_logprobs(vlm, talks)
    pairs = [
        (f, lp)
        for row, t in zip(full, talks, strict=True)
        for f, (_, lp) in zip(row, t.drawn, strict=True)
    ]
    assert pairs
    return max(abs(a - b) for a, b in pairs)
