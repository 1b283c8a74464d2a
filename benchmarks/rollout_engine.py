"""Rollouts of several turns with pictures: the engine against `model.generate`.

    OMP_NUM_THREADS=1 python benchmarks/rollout_engine.py

16 questions of the zoom world with 8 attempts each, greedy, on the tiny policy. Every attempt is
shown crops of its own, so from the second turn on no two contexts are alike. Two workloads: two
turns (two pictures), and four turns (four pictures). Candidates:

- `engine`: requests one by one through `HFEngine`, caches empty at the start of every repeat;
- `batched`: one `model.generate` a turn on all contexts, padded left, key-value cache on, SDPA;
  every turn encodes all pictures and reads the whole context again, as trainers without a
  multi-turn engine do;
- `one_by_one`: `model.generate` on one context at a time, on one attempt per question.

All draw the same tokens: that is asserted. The peers do not compute log-probs and get normalised
pixels ready-made; the engine computes log-probs and starts from uint8 patches. Times are CPU
seconds of one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _timing
import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from vtool.engines.base import Request
from vtool.engines.hf import HFEngine
from vtool.families.pixels import normalise
from vtool.families.positions import mm_token_type_ids
from vtool.families.vlm import VLM
from vtool.media import Image
from vtool.message import Author, Message, Role, Show, Text
from vtool.pairs import load_renderer
from vtool.record import Context, Sampling
from vtool.render import Act
from vtool.store import Store
from vtool.token_render import TokenRenderer
from vtool.worlds.zoom import draw

FOLDER = Path(__file__).parent.parent / "assets" / "tiny" / "weak"
QUESTIONS, ATTEMPTS, MAX_TOKENS, CROP = 16, 8, 64, 96
TARGETS = {2: 2.0, 4: 3.0}
"""Turns (and pictures) to how much faster than `batched` the engine has to be."""


@dataclass(frozen=True)
class Turn:
    """One turn of all attempts: what is asked and what has to come back."""

    requests: list[Request]
    answers: list[list[int]]
    inputs: dict[str, Tensor]
    """The same for `model.generate`."""


def begin(renderer: TokenRenderer, question: int, attempt: int) -> tuple[Context, list[str]]:
    """A context with its question, and handles of crops to show later."""
    scene = draw(question)
    picture = Image(np.ascontiguousarray(scene.pixels))
    store = Store()
    handle = store.add(picture).handle
    context = Context(0, "policy", store)
    parts = (Show(handle), Text(scene.question))
    message = Message(role=Role.USER, parts=parts, author=Author.USER)
    for segment in renderer.begin((message,), (), store):
        context.append(segment)
    rng = np.random.default_rng([question, attempt])
    crops = []
    for _ in range(max(TARGETS) - 1):
        disc = scene.discs[rng.integers(len(scene.discs))]
        x, y = (
            int(np.clip(v - CROP / 2 + rng.integers(-20, 21), 0, picture.size[0] - CROP))
            for v in (disc.x, disc.y)
        )
        crops.append(store.add(picture.crop_pixels(x, y, x + CROP, y + CROP)).handle)
    return context, crops


def request(renderer: TokenRenderer, context: Context, key: tuple[int, ...]) -> Request:
    """A greedy request for the next turn."""
    return Request(
        prompt=renderer.prompt(context),
        sampling=Sampling(temperature=0.0, max_tokens=MAX_TOKENS),
        stop_ids=renderer.stop_ids,
        forbidden_ids=renderer.forbidden_ids,
        key=key,
    )


def prepare(vlm: VLM, turns: int) -> list[Turn]:
    """Play all attempts once and write down what every turn asks and answers."""
    renderer = load_renderer(FOLDER)
    engine = HFEngine(vlm)
    names = [(q, a) for q in range(QUESTIONS) for a in range(ATTEMPTS)]
    talks = [begin(renderer, *name) for name in names]
    out = []
    for turn in range(turns):
        asked = [request(renderer, c, (*n, turn)) for n, (c, _) in zip(names, talks, strict=True)]
        done = serve(engine, asked)
        answers = [c.ids.tolist() for c in done]
        out.append(Turn(asked, answers, library_inputs(vlm, asked)))
        for (context, crops), completion in zip(talks, done, strict=True):
            step = renderer.next(context, completion, Sampling())
            assert isinstance(step, Act)
            context.append(step.segment)
            if turn < turns - 1:
                reply = Message(role=Role.TOOL, parts=(Show(crops[turn]),), author=Author.TOOL)
                for segment in renderer.extend(context, (reply,)):
                    context.append(segment)
    engine.close()
    return out


def library_inputs(vlm: VLM, requests: list[Request]) -> dict[str, Tensor]:
    """What `generate` takes: ids padded left, mask, token types, pixels, grids."""
    width = max(len(r.prompt.ids) for r in requests)
    ids = np.zeros((len(requests), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(requests):
        ids[row, width - len(one.prompt.ids) :] = one.prompt.ids
        mask[row, width - len(one.prompt.ids) :] = 1
    pictures = [p.patches for r in requests for p in r.prompt.pictures]
    raw = torch.cat([torch.from_numpy(p.data.copy()) for p in pictures])
    types = mm_token_type_ids(ids, vlm.image_token_id, vlm.video_token_id) * mask
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "mm_token_type_ids": torch.from_numpy(types),
        "pixel_values": normalise(raw, vlm.family.spec),
        "image_grid_thw": torch.tensor([p.grid for p in pictures]),
    }


def serve(engine: HFEngine, requests: list[Request]) -> list[Any]:
    """All requests at once."""

    async def everybody() -> list[Any]:
        return await asyncio.gather(*(engine.generate(r) for r in requests))

    return asyncio.run(everybody())


def by_engine(engine: HFEngine, turns: list[Turn]) -> None:
    """All turns through the engine."""
    engine.drop_caches()
    for turn in turns:
        done = serve(engine, turn.requests)
        assert [c.ids.tolist() for c in done] == turn.answers


def by_generate(vlm: VLM, turns: list[Turn], config: GenerationConfig) -> None:
    """All turns through `generate`, everything encoded and read again."""
    for turn in turns:
        with torch.inference_mode():
            out = vlm.model.generate(**turn.inputs, generation_config=config)
        rows = out[:, turn.inputs["input_ids"].shape[1] :].tolist()
        for row, answer in zip(rows, turn.answers, strict=True):
            assert row[: len(answer)] == answer


def single(vlm: VLM, turns: list[Turn], row: int) -> list[Turn]:
    """One attempt alone."""
    out = []
    for turn in turns:
        asked = [turn.requests[row]]
        out.append(Turn(asked, [turn.answers[row]], library_inputs(vlm, asked)))
    return out


def measure(vlm: VLM, turns_count: int, repeats: int) -> dict[str, Any]:
    """CPU seconds of all candidates on one workload."""
    turns = prepare(vlm, turns_count)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=MAX_TOKENS,
        use_cache=True,
        eos_token_id=list(turns[0].requests[0].stop_ids),
        pad_token_id=0,
    )
    engine = HFEngine(vlm)
    alone = [single(vlm, turns, q * ATTEMPTS) for q in range(QUESTIONS)]

    def one_by_one() -> None:
        for one in alone:
            by_generate(vlm, one, config)

    candidates: dict[str, Callable[[], None]] = {
        "engine": lambda: by_engine(engine, turns),
        "batched": lambda: by_generate(vlm, turns, config),
        "one_by_one": one_by_one,
    }
    seconds = _timing.interleave(candidates, repeats=repeats)
    engine.close()
    rows = {name: _timing.summary(values) for name, values in seconds.items()}
    tokens = sum(len(a) for t in turns for a in t.answers)
    total = QUESTIONS * ATTEMPTS
    per_rollout = {n: r["median"] / total for n, r in rows.items() if n != "one_by_one"}
    per_rollout["one_by_one"] = rows["one_by_one"]["median"] / QUESTIONS
    faster = {n: s / per_rollout["engine"] for n, s in per_rollout.items() if n != "engine"}
    return {
        "turns": turns_count,
        "rollouts": total,
        "rollouts_one_by_one": QUESTIONS,
        "drawn_tokens": tokens,
        "longest_context": int(turns[-1].inputs["input_ids"].shape[1]),
        "cpu_s": rows,
        "cpu_s_per_rollout": per_rollout,
        "faster_than": faster,
        "target_against_batched": TARGETS[turns_count],
        "passed": bool(faster["batched"] >= TARGETS[turns_count]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="The engine against model.generate.")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = _timing.machine()
    vlm = VLM.load(FOLDER)
    results = {f"{n}_turns": measure(vlm, n, options.repeats) for n in TARGETS}
    passed = all(r["passed"] for r in results.values())
    payload = {
        "benchmark": "rollout_engine",
        "model": "assets/tiny/weak",
        "parameters": sum(p.numel() for p in vlm.parameters()),
        "max_tokens": MAX_TOKENS,
        "results": results,
        "passed": passed,
        "machine": machine,
    }
    _timing.write("rollout_engine", payload)
    print(json.dumps({"results": results, "passed": passed}, indent=2, default=float))
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
