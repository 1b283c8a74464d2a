"""A small batched player, to follow training; the real engine lives elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache, Qwen3VLForConditionalGeneration

from vtool.worlds import zoom as world
from vtool.worlds.drawing import Pixels

from .batch import collate, features
from .expert import Demo, Region, Scribe, region_of
from .forward import read
from .views import zoom

_CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>$", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*)</answer>$", re.DOTALL)


@dataclass(slots=True, eq=False)
class Play:
    """One episode being played."""

    demo: Demo
    pictures: list[world.PixelBox]
    regions: list[Region] = field(default_factory=list)
    answer: str | None = None
    broken: bool = False
    turns: list[str] = field(default_factory=list)

    @property
    def correct(self) -> bool:
        """Whether the final answer is the reference."""
        return self.answer == self.demo.scene.answer

    @property
    def hit(self) -> bool:
        """Whether the last crop overlaps the target disc, IoU of at least one half."""
        return bool(self.regions) and iou(self.regions[-1], self.demo.scene.target.box) >= 0.5


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two xyxy boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0.0, w) * max(0.0, h)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


@torch.no_grad()
def complete(
    model: Qwen3VLForConditionalGeneration,
    scribe: Scribe,
    rows: Sequence[Demo],
    temperature: float,
    generator: torch.Generator,
    limit: int = 64,
) -> list[list[int]]:
    """Continue each row up to its end token; temperature 0 is greedy."""
    batch = collate(rows, scribe.image, left=True)
    lengths = torch.tensor([len(r.ids) for r in rows])
    width = batch.ids.shape[1]
    mask = (torch.arange(width)[None] >= width - lengths[:, None]).long()
    cache = DynamicCache(config=model.config.text_config)
    hidden = read(
        model,
        batch.ids,
        batch.positions,
        features(model, batch.views),
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    end = scribe.tokenizer.token_to_id("<|im_end|>")
    at = batch.positions[:, :, -1:] + 1
    out: list[list[int]] = [[] for _ in rows]
    open_rows = torch.ones(len(rows), dtype=torch.bool)
    for _ in range(limit):
        logits = model.lm_head(hidden[:, -1])
        logits[:, scribe.image] = -torch.inf
        if temperature:
            chance = (logits / temperature).softmax(-1)
            token = torch.multinomial(chance, 1, generator=generator)[:, 0]
        else:
            token = logits.argmax(-1)
        for i in open_rows.nonzero()[:, 0].tolist():
            out[i].append(int(token[i]))
        open_rows &= token != end
        if not open_rows.any():
            break
        mask = torch.cat([mask, torch.ones(len(rows), 1, dtype=torch.long)], 1)
        hidden = model.model.language_model(
            inputs_embeds=model.model.language_model.embed_tokens(token[:, None]),
            position_ids=at,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        at = at + 1
    return out


def advance(play: Play, scribe: Scribe, ids: list[int]) -> bool:
    """Apply one completed turn; true if the episode goes on."""
    text = scribe.tokenizer.decode(ids, skip_special_tokens=False)
    play.turns.append(text)
    play.demo.ids.extend(ids)
    play.demo.learn.extend([True] * len(ids))
    text = text.removesuffix("<|im_end|>")
    if found := _ANSWER.search(text):
        play.answer = found[1]
        return False
    try:
        found = _CALL.search(text)
        call = json.loads(found[1])["arguments"] if found else {}
        picture = play.pictures[int(call["image"]) - 1]
        x1, y1, x2, y2 = call["box"]
        if not (0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 1000):
            raise ValueError(call["box"])
    except (ValueError, KeyError, IndexError, TypeError):
        play.broken = True
        return False
    region = region_of((x1, y1, x2, y2), picture)
    crop, box = zoom(play.demo.scene.pixels, region)
    play.regions.append(region)
    play.pictures.append(box)
    play.demo.views.append(crop)
    shown = scribe.observation(crop)
    play.demo.ids.extend(shown)
    play.demo.learn.extend([False] * len(shown))
    return True


def play_all(
    model: Qwen3VLForConditionalGeneration,
    scribe: Scribe,
    scenes: Sequence[world.Scene],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    turns: int = 4,
    chunk: int = 100,
) -> list[Play]:
    """Play every scene to its answer, or until the turns are used up."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for start in range(0, len(scenes), chunk):
        plays = []
        for scene in scenes[start : start + chunk]:
            height, width = scene.pixels.shape[:2]
            ids = scribe.prompt(scene)
            demo = Demo(ids, [False] * len(ids), [scene.pixels], scene)
            plays.append(Play(demo, [(0, 0, width, height)]))
        going = plays
        for _ in range(turns):
            if not going:
                break
            ids = complete(model, scribe, [p.demo for p in going], temperature, generator)
            going = [p for p, new in zip(going, ids, strict=True) if advance(p, scribe, new)]
        out += plays
    return out


def measure(
    model: Qwen3VLForConditionalGeneration,
    scribe: Scribe,
    kind: str,
    *,
    count: int = 400,
    temperature: float = 0.0,
    objects: int = 4,
    sizes: Sequence[tuple[int, int]] = (world.FIXED,),
    photos: Sequence[Pixels] = (),
) -> dict[str, float]:
    """Accuracy and tool use on held-out pictures of one kind."""
    scenes = [
        world.draw(
            i,
            kind=kind,
            split="held_out",
            objects=objects,
            size=sizes[i % len(sizes)],
            photos=photos,
        )
        for i in range(count)
    ]
    plays = play_all(model, scribe, scenes, temperature=temperature)
    total = len(plays)
    zooms = world.Kind(kind).zooms
    return {
        "accuracy": round(sum(p.correct for p in plays) / total, 4),
        "format": round(sum(p.answer is not None for p in plays) / total, 4),
        "calls": round(sum(len(p.regions) for p in plays) / total, 4),
        "as_expected": round(sum(len(p.regions) == zooms for p in plays) / total, 4),
        "hit": round(sum(p.hit for p in plays) / total, 4) if zooms else 0.0,
    }
