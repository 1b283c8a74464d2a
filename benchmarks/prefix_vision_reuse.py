"""Work that a group of multi-turn rollouts shares: pictures encoded, prompt tokens read.

    OMP_NUM_THREADS=1 python benchmarks/prefix_vision_reuse.py

A group of 8 looks at one picture of n0 visual tokens, four times draws g tokens and is shown a
crop of c visual tokens in a wrapper of o tokens, then draws once more. Sizes are those of a
7B-class run (n0 1280, c 640, x 220, g 150, o 20) divided by ten. The engine is the real one, the
model a tiny random one: what is counted does not depend on weights or clock.

Bounds, for pictures and for prompt tokens:

- naive (every turn encodes and reads everything again):
  `G sum_{k=0..K} (n0 + k c)` and `G sum_k (x + n0 + k (c + g + o))`;
- each rollout for itself: `G (n0 + K c)` and `G (x + n0 + K (c + o))`;
- optimum: `n0 + unique crops * c` and `x + n0 + G K (c + o)`.

The engine reads one token a turn more than the optimum: the last drawn one, which the model has
not read when the turn ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import _timing
import numpy as np
import torch

from vtool.engines.base import Picture, Prompt, Request
from vtool.engines.hf import HFEngine
from vtool.families.base import PixelSpec
from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM
from vtool.record import Run, Sampling

GROUP, CROPS = 8, 4
SCALE = 10
N0, C, X, DRAWN, WRAP = (n // SCALE for n in (1280, 640, 220, 150, 20))
PICTURE, CROP = (128, 256), (128, 128)
"""Sizes in pixels that make N0 and C visual tokens of 16 x 16 pixels."""
VISUAL_TARGET, PREFILL_TARGET = 1.05, 1.10
NAIVE_VISUAL, NAIVE_PREFILL = 4.5, 5.0


def build_model() -> VLM:
    """A tiny Qwen3-VL with random weights that takes pictures of these sizes as they are."""
    torch.manual_seed(0)
    spec = PixelSpec(8, 2, 2, 64, 1 << 20, (0.5,) * 3, (0.5,) * 3)
    return VLM.from_config(random_config("qwen3_vl", vocab_size=300), spec=spec)


class Rollout:
    """One member of the group."""

    def __init__(self, vlm: VLM, number: int) -> None:
        self.vlm, self.number = vlm, number
        self.ids: list[int] = []
        self.pictures: list[Picture] = []
        self.boundaries: list[int] = []
        self.show("the picture", PICTURE, X)

    def show(self, name: str, size: tuple[int, int], text: int) -> None:
        """Append a picture and `text` tokens around it (the two vision marks among them)."""
        rng = np.random.default_rng(list(name.encode()))
        patches = self.vlm.family.patches(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        count = patches.tokens(self.vlm.family.spec.merge)
        self.ids.append(self.vlm.vision_start_id)
        self.pictures.append(Picture(Run(len(self.ids), count, patches.grid), name, patches))
        self.ids += [self.vlm.image_token_id] * count + [self.vlm.vision_end_id]
        self.ids += rng.integers(0, 200, text - 2).tolist()
        self.boundaries.append(len(self.ids))

    async def play(self, engine: HFEngine, crops_of: int) -> None:
        """Four crops; members with equal `number % crops_of` ask for the same ones."""
        for turn in range(CROPS + 1):
            prompt = Prompt(
                np.array(self.ids, np.int32), tuple(self.pictures), tuple(self.boundaries)
            )
            request = Request(
                prompt=prompt,
                sampling=Sampling(max_tokens=DRAWN),
                stop_ids=(),
                key=(self.number, turn),
            )
            completion = await engine.generate(request)
            self.ids += completion.ids.tolist()
            self.boundaries.append(len(self.ids))
            if turn < CROPS:
                self.show(f"crop {turn} of {self.number % crops_of}", CROP, WRAP)
        engine.leave()


def count(crops_of: int) -> dict[str, int]:
    """What the engine did for one group."""
    vlm = build_model()
    engine = HFEngine(vlm)

    async def group() -> None:
        with engine.participants(GROUP):
            await asyncio.gather(*(Rollout(vlm, n).play(engine, crops_of) for n in range(GROUP)))

    asyncio.run(group())
    engine.close()
    done = engine.counters
    return {"visual": done.visual_tokens, "prefill": done.prefill_tokens}


def bounds(unique_crops: int) -> dict[str, dict[str, int]]:
    """The closed forms."""
    turns = range(CROPS + 1)
    return {
        "naive": {
            "visual": GROUP * sum(N0 + k * C for k in turns),
            "prefill": GROUP * sum(X + N0 + k * (C + DRAWN + WRAP) for k in turns),
        },
        "per_rollout": {
            "visual": GROUP * (N0 + CROPS * C),
            "prefill": GROUP * (X + N0 + CROPS * (C + WRAP)),
        },
        "optimum": {
            "visual": N0 + unique_crops * C,
            "prefill": X + N0 + GROUP * CROPS * (C + WRAP),
        },
    }


def measure(crops_of: int) -> dict[str, Any]:
    """Counts of a group in which `crops_of` members choose crops of their own."""
    done, limits = count(crops_of), bounds(crops_of * CROPS)
    over = {k: done[k] / limits["optimum"][k] for k in done}
    under = {k: limits["naive"][k] / done[k] for k in done}
    passed = (
        over["visual"] <= VISUAL_TARGET
        and over["prefill"] <= PREFILL_TARGET
        and under["visual"] >= NAIVE_VISUAL
        and under["prefill"] >= NAIVE_PREFILL
    )
    return {
        "unique_crops": crops_of * CROPS,
        "engine": done,
        **limits,
        "over_optimum": over,
        "under_naive": under,
        "passed": passed,
    }


def run() -> dict[str, Any]:
    """Both groups: all crops different, and every crop asked for twice."""
    return {"all_crops_differ": measure(GROUP), "half_the_crops_repeat": measure(GROUP // 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts of work shared by a group.")
    parser.add_argument("--no-write", action="store_true", help="leave the results file alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = run()
    passed = all(r["passed"] for r in results.values())
    payload = {
        "benchmark": "prefix_vision_reuse",
        "sizes": {"G": GROUP, "K": CROPS, "n0": N0, "c": C, "x": X, "g": DRAWN, "o": WRAP},
        "targets": {
            "visual_over_optimum": VISUAL_TARGET,
            "prefill_over_optimum": PREFILL_TARGET,
            "visual_under_naive": NAIVE_VISUAL,
            "prefill_under_naive": NAIVE_PREFILL,
        },
        "results": results,
        "passed": passed,
        "machine": _timing.machine(),
    }
    if not options.no_write:
        _timing.write("prefix_vision_reuse", payload)
    print(json.dumps({"results": results, "passed": passed}, indent=2))
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
