"""Learning from a group: its prompt computed once, against once an attempt.

    OMP_NUM_THREADS=1 python benchmarks/shared_prefix.py [--strict]

One gradient of `Learner` over two groups of 8 attempts at prompts of 64 to 2048 tokens, each
attempt writing and reading 128 to 384 tokens more. The model is a real Qwen3-VL class with random
weights, 128 wide and 4 layers deep. The peer is the same learner with `share_prefixes` off, at its
best: rows of like length, no mask. The bound is the ratio of tokens that either side computes;
attention, which grows faster than tokens, may go beyond it. Memory is what autograd keeps for the
backward pass, counted storage by storage. Both gradients must be equal to rounding.

Writes `results/shared_prefix.json` and `.md`.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
import numpy as np
import torch
from vtool.rl.batch import Sample
from vtool.rl.learner import Learner, LearnerSettings
from vtool.rl.policy import Policy

from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM

PROMPTS = (64, 256, 1024, 2048)
GROUPS, SIZE, VOCAB = 2, 8, 2048
SHORT, LONG = 128, 384
BUDGET = 4096
EQUAL = 1e-4
TARGET = 1.5
"""Of CPU seconds, where prompts have `TARGET_AT` tokens: a picture and a list of tools."""
TARGET_AT = 1024


def samples(prompt: int, seed: int) -> list[Sample]:
    """Groups of attempts that begin alike; two fifths of what follows is written by the policy."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(GROUPS):
        begin = rng.integers(0, VOCAB - 4, prompt)
        for _ in range(SIZE):
            own = int(rng.integers(SHORT, LONG))
            ids = np.concatenate([begin, rng.integers(0, VOCAB - 4, own)]).astype(np.int32)
            target = np.zeros(len(ids), bool)
            target[prompt:] = np.arange(own) % 100 < 40
            old = np.where(target, -7.6, 0).astype(np.float32)
            credit = np.full(len(ids), rng.normal(), np.float32)
            out.append(Sample(ids, np.tile(np.arange(len(ids)), (3, 1)), (), target, old, credit))
    return out


def learner(share: bool) -> Learner:
    """Equal weights on both sides."""
    torch.manual_seed(0)
    config = random_config(
        "qwen3_vl", vocab_size=VOCAB, hidden=128, layers=4, intermediate=384, heads=4
    )
    settings = LearnerSettings(batch_tokens=BUDGET, share_prefixes=share)
    return Learner(Policy(VLM.from_config(config)).train(), settings, 1)


def gradient(one: Learner, rows: list[Sample]) -> dict[str, torch.Tensor]:
    """Of the surrogate over all samples."""
    one.optimizer.zero_grad(set_to_none=True)
    for work in one._works(rows, ()):
        one._backward(work)
    return {n: p.grad for n, p in one.policy.named() if p.grad is not None}


def kept(one: Learner, rows: list[Sample]) -> int:
    """Most bytes that one micro-batch keeps for its backward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in one.policy.parameters()}
    most = 0
    for batch in one.batches(rows):
        held: dict[int, int] = {}

        def keep(t: torch.Tensor, held: dict[int, int] = held) -> torch.Tensor:
            held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            out = one.policy(batch)
        most = max(most, sum(v for k, v in held.items() if k not in weights))
        del out
    return most


def measure(prompt: int, repeats: int) -> dict[str, Any]:
    """Both sides on the same samples."""
    rows = samples(prompt, prompt)
    sides = {"shared": learner(True), "apart": learner(False)}
    found = {name: gradient(one, rows) for name, one in sides.items()}
    far = max(
        float((g - found["shared"][n]).norm() / g.norm().clamp(min=1e-12))
        for n, g in found["apart"].items()
    )
    assert far < EQUAL, far
    times = _timing.interleave(
        {n: partial(gradient, one, rows) for n, one in sides.items()}, repeats=repeats
    )
    computed = {n: sum(b.computed for b in one.batches(rows)) for n, one in sides.items()}
    told = {n: _timing.summary(times[n]) for n in sides}
    memory = {n: kept(one, rows) for n, one in sides.items()}
    return {
        "prompt": prompt,
        "computed": computed,
        "cpu_s": told,
        "ratio": told["apart"]["median"] / told["shared"]["median"],
        "bound": computed["apart"] / computed["shared"],
        "kept_bytes": memory,
        "gradient_difference": far,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """As markdown."""
    lines = [
        "# A group's prompt computed once in learning, against once an attempt",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/shared_prefix.py`; one thread, in turns, medians; "
        f"{GROUPS} groups of {SIZE} attempts, {SHORT} to {LONG} tokens behind the prompt, "
        f"micro-batches of {BUDGET} tokens. Target: {TARGET:g} at {TARGET_AT} tokens.",
        "",
        "| tokens of a prompt | CPU s, shared | CPU s, apart | ratio | tokens, apart over shared | "
        "kept for backward, MB: shared / apart | gradients differ by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mine, theirs = row["cpu_s"]["shared"], row["cpu_s"]["apart"]
        memory = row["kept_bytes"]
        lines.append(
            f"| {row['prompt']} | {mine['median']:.2f} ({mine['q1']:.2f} - {mine['q3']:.2f}) | "
            f"{theirs['median']:.2f} ({theirs['q1']:.2f} - {theirs['q3']:.2f}) | "
            f"{row['ratio']:.2f} | {row['bound']:.2f} | {memory['shared'] / 1e6:.0f} / "
            f"{memory['apart'] / 1e6:.0f} | {row['gradient_difference']:.0e} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, check, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--strict", action="store_true", help="fail where the target is missed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(prompt, args.repeats) for prompt in PROMPTS]
    _timing.write("shared_prefix", {"rows": rows, "machine": _timing.machine()})
    text = table(rows)
    (_timing.RESULTS / "shared_prefix.md").write_text(text, encoding="utf-8")
    print(text)
    if args.strict:
        assert next(r["ratio"] for r in rows if r["prompt"] == TARGET_AT) >= TARGET, rows


if __name__ == "__main__":
    main()
