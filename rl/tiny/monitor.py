"""A small batched player, to follow training; the real engine lives elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import numpy as np
import torch
from transformers import DynamicCache

from vtool.families.pixels import resize
from vtool.families.vlm import VLM
from vtool.worlds import zoom as world
from vtool.worlds.drawing import Pixels

from .batch import collate, see
from .expert import Demo, Region, Scribe, Step, region_of
from .spec import FAMILY
from .views import zoom

_CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>$", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*)</answer>$", re.DOTALL)


class Control(StrEnum):
    """What a zoom shows; all but the first are counterfactuals."""

    REAL = "real"
    BLANK = "blank"
    OVERVIEW = "overview"
    """The same region, cut from the first look instead of the original."""
    RANDOM_BOX = "random_box"


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
    def overlap(self) -> float:
        """IoU of the last crop and the target disc."""
        return iou(self.regions[-1], self.demo.scene.target.box) if self.regions else 0.0

    @property
    def hit(self) -> bool:
        """Whether that is one half or more."""
        return self.overlap >= 0.5


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two xyxy boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0.0, w) * max(0.0, h)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


@torch.no_grad()
def complete(
    vlm: VLM,
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
    cache = DynamicCache(config=vlm.model.config.text_config)
    vision, seen = see(vlm, batch.views)
    hidden = vlm.hidden(
        batch.ids, batch.positions, attention_mask=mask, vision=vision, rows=seen, cache=cache
    )
    end = scribe.tokenizer.token_to_id("<|im_end|>")
    at = batch.positions[:, :, -1:] + 1
    out: list[list[int]] = [[] for _ in rows]
    open_rows = torch.ones(len(rows), dtype=torch.bool)
    for _ in range(limit):
        logits = vlm.head(hidden[:, -1])
        logits[:, list(vlm.placeholder_ids)] = -torch.inf
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
        hidden = vlm.hidden(token[:, None], at, attention_mask=mask, cache=cache)
        at = at + 1
    return out


def shown(
    scene: world.Scene, region: Region, control: Control, rng: np.random.Generator
) -> tuple[Pixels, world.PixelBox]:
    """The crop that a zoom gives, under a control, and the pixels it stands for."""
    height, width = scene.pixels.shape[:2]
    if control is Control.RANDOM_BOX:
        w, h = region[2] - region[0], region[3] - region[1]
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        region = (x, y, x + w, y + h)
    crop, box = zoom(scene.pixels, region)
    if control is Control.BLANK:
        crop = np.full_like(crop, 127)
    if control is Control.OVERVIEW:
        first = resize(scene.pixels, FAMILY.shown_size((width, height)))
        crop = resize(first, (width, height))[box[1] : box[3], box[0] : box[2]]
    return crop, box


def advance(
    play: Play, scribe: Scribe, ids: list[int], control: Control, rng: np.random.Generator
) -> bool:
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
    crop, box = shown(play.demo.scene, region, control, rng)
    play.regions.append(region)
    play.pictures.append(box)
    play.demo.views.append(crop)
    seen = scribe.observation(crop)
    play.demo.ids.extend(seen)
    play.demo.learn.extend([False] * len(seen))
    return True


def begin(scribe: Scribe, scene: world.Scene) -> Play:
    """An episode before the policy's first token."""
    height, width = scene.pixels.shape[:2]
    ids = scribe.prompt(scene)
    demo = Demo(ids, [False] * len(ids), [scene.pixels], scene)
    return Play(demo, [(0, 0, width, height)])


def play_all(
    vlm: VLM,
    scribe: Scribe,
    scenes: Iterable[world.Scene],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    turns: int = 4,
    chunk: int = 100,
    control: Control = Control.REAL,
) -> list[Play]:
    """Play every scene to its answer, or until the turns are used up."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    out: list[Play] = []
    for some in batched(scenes, chunk):
        going = plays = [begin(scribe, scene) for scene in some]
        for _ in range(turns):
            if not going:
                break
            made = complete(vlm, scribe, [p.demo for p in going], temperature, generator)
            going = [
                play
                for play, ids in zip(going, made, strict=True)
                if advance(play, scribe, ids, control, rng)
            ]
        out += plays
    return out


def batched(items: Iterable[world.Scene], count: int) -> Iterator[list[world.Scene]]:
    """Lists of ``count`` items, the last one shorter."""
    source = iter(items)
    while some := list(islice(source, count)):
        yield some


def measure(
    vlm: VLM,
    scribe: Scribe,
    kind: str,
    *,
    count: int = 400,
    temperature: float = 0.0,
    control: Control = Control.REAL,
    objects: int = 4,
    sizes: Sequence[tuple[int, int]] = (world.FIXED,),
    photos: Sequence[Pixels] = (),
) -> dict[str, float]:
    """Accuracy and tool use on held-out pictures of one kind."""
    scenes = (
        world.draw(
            i,
            kind=kind,
            split="held_out",
            objects=objects,
            size=sizes[i % len(sizes)],
            photos=photos,
        )
        for i in range(count)
    )
    plays = play_all(vlm, scribe, scenes, temperature=temperature, control=control)
    zooms = world.Kind(kind).zooms
    return {
        "accuracy": share(p.correct for p in plays),
        "format": share(p.answer is not None for p in plays),
        "calls": share(len(p.regions) for p in plays),
        "as_expected": share(len(p.regions) == zooms for p in plays),
        "hit": share(p.hit for p in plays),
        "iou": share(p.overlap for p in plays),
    }


@torch.no_grad()
def without_tool(vlm: VLM, scribe: Scribe, *, count: int = 400) -> float:
    """Accuracy on one-zoom questions if the policy must answer from the first look.

    Of the ten direct answers the one that it finds most likely is taken.
    """
    right = 0
    for seed in range(count):
        scene = world.draw(seed, split="held_out")
        answers = [Step(f"The digit is {d}.", answer=str(d)) for d in range(10)]
        rows = [scribe.write(scene, [answer], [scene.pixels]) for answer in answers]
        losses = [loss.sum() for loss in row_losses(vlm, rows, scribe.image)]
        right += str(int(torch.stack(losses).argmin())) == scene.answer
    return round(right / count, 4)


def row_losses(vlm: VLM, rows: Sequence[Demo], image: int) -> list[torch.Tensor]:
    """Cross-entropy of each row's learnt tokens."""
    batch = collate(rows, image)
    vision, places = see(vlm, batch.views)
    logits = vlm.head(vlm.hidden(batch.ids, batch.positions, vision=vision, rows=places))
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), batch.ids[:, 1:], reduction="none"
    )
    return [row[on] for row, on in zip(each, batch.learn[:, 1:], strict=True)]


def share(values: Iterable[float]) -> float:
    """Mean of some numbers, four digits."""
    numbers = list(values)
    return round(sum(numbers) / len(numbers), 4)
