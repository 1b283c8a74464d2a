"""Peak memory and time of token log-probs through a 152k vocabulary, forward and backward.

    OMP_NUM_THREADS=1 python benchmarks/logprob_memory.py

4096 completion tokens, of which 20 % were written by the policy (the share in simulated
multi-turn tool use). Each candidate runs in a fresh process, one at a time; its peak is the
resident maximum over what it held before the first logit. The peers compute all completion
tokens and mask the loss afterwards:

- `full`: log-softmax of all logits, then gather;
- `selective`: chosen logit minus logsumexp of all logits (the documented formula of TRL's
  selective log-softmax), over the whole completion, tool tokens included;
- `selected_full`: policy tokens before the head, then as `full`: what selection alone brings;
- `ours`: policy tokens before the head, chunked, logits recomputed in the backward pass;
- `ours_64`: the same with 64 rows of logits at a time instead of the default;
- `ours_entropy`: the same with the entropy and its gradient.

All of them must agree on the loss, and on the gradients of hidden states and head to 1e-5 of their
largest entry.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _timing
import torch
from torch import Tensor
from vtool.rl.logprobs import CHUNK, selected_logprobs

TOKENS, VOCAB, WIDTH, SHARE = 4096, 151_936, 256, 0.2
CANDIDATES = ("full", "selective", "selected_full", "ours", "ours_64", "ours_entropy")
MEMORY_TARGET, TIME_TARGET, GRADIENT_TARGET = 10.0, 0.5, 1e-5


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, head, targets and the mask of policy tokens."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(TOKENS, WIDTH, generator=g)
    head = torch.randn(VOCAB, WIDTH, generator=g).mul_(WIDTH**-0.5)
    targets = torch.randint(0, VOCAB, (TOKENS,), generator=g)
    mask = torch.zeros(TOKENS, dtype=torch.bool)
    mask[torch.randperm(TOKENS, generator=g)[: int(SHARE * TOKENS)]] = True
    return hidden.requires_grad_(), head.requires_grad_(), targets, mask


def loss(name: str, chunk: int, hidden: Tensor, head: Tensor, targets: Tensor, mask: Tensor):
    """Mean negative log-prob of the policy tokens."""
    if name.startswith("ours"):
        entropy = name == "ours_entropy"
        chunk = 64 if name == "ours_64" else chunk
        logp, ent = selected_logprobs(
            hidden[mask], head, targets[mask], chunk=chunk, entropy=entropy
        )
        # The entropy term has weight 0, so that all candidates share one gradient.
        return -logp.mean() + (0.0 * ent.mean() if ent is not None else 0.0)
    if name == "selected_full":
        hidden, targets, mask = hidden[mask], targets[mask], torch.ones_like(mask[mask])
    logits = hidden @ head.t()
    if name == "selective":
        chosen = logits.gather(-1, targets[:, None]).squeeze(-1)
        logp = chosen - torch.logsumexp(logits, -1)
    else:
        logp = torch.log_softmax(logits, -1).gather(-1, targets[:, None]).squeeze(-1)
    return -(logp * mask).sum() / mask.sum()


def candidate(name: str, chunk: int, seed: int, out: str) -> dict[str, Any]:
    """One forward and backward pass in this process; gradients go to `out`."""
    torch.set_num_threads(1)
    hidden, head, targets, mask = problem(seed)
    # Load the GEMM library before the baseline is taken.
    (torch.randn(64, 64) @ torch.randn(64, 64)).sum()
    before, start = _timing.rss_mb(), time.process_time()
    value = loss(name, chunk, hidden, head, targets, mask)
    value.backward()
    seconds, peak = time.process_time() - start, _timing.peak_rss_mb() - before
    import safetensors.torch

    assert hidden.grad is not None
    assert head.grad is not None
    # A strip of the head's gradient, the targets' rows among it, keeps the file small.
    rows = torch.cat([targets[mask].sort().values, torch.arange(4096)])
    strip = {"hidden": hidden.grad, "head": head.grad[rows]}
    safetensors.torch.save_file(strip, out)
    return {"loss": value.item(), "peak_mb": peak, "cpu_s": seconds}


def compare(reference: Path, other: Path) -> float:
    """Largest difference of any gradient entry, over the largest entry of that gradient."""
    import safetensors.torch

    a, b = safetensors.torch.load_file(reference), safetensors.torch.load_file(other)
    return max(((a[key] - b[key]).abs().max() / a[key].abs().max()).item() for key in a)


def measure(chunk: int, repeats: int, seed: int) -> dict[str, Any]:
    """All candidates, interleaved, `repeats` times."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CANDIDATES}
    difference: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for name in CANDIDATES:
                out = Path(folder) / f"{name}.safetensors"
                arguments = ["--one", name, "--chunk", str(chunk), "--seed", str(seed)]
                run = _timing.fresh_process(__file__, [*arguments, "--out", str(out)])
                runs[name].append(run)
                print(name, run, file=sys.stderr, flush=True)
        for name in CANDIDATES:
            difference[name] = compare(
                Path(folder) / "full.safetensors", Path(folder) / f"{name}.safetensors"
            )
    return {
        name: {
            "peak_mb": _timing.summary([r["peak_mb"] for r in runs[name]]),
            "cpu_s": _timing.summary([r["cpu_s"] for r in runs[name]]),
            "loss": runs[name][0]["loss"],
            "gradient_difference": difference[name],
        }
        for name in CANDIDATES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", choices=CANDIDATES, help="run one candidate in this process")
    parser.add_argument("--out", default="")
    parser.add_argument("--chunk", type=int, default=CHUNK)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(candidate(args.one, args.chunk, args.seed, args.out)))
        return
    start = _timing.machine()
    table = measure(args.chunk, args.repeats, args.seed)
    ours = table["ours"]
    ratios = {
        peer: {
            "memory": table[peer]["peak_mb"]["median"] / ours["peak_mb"]["median"],
            "time": ours["cpu_s"]["median"] / table[peer]["cpu_s"]["median"],
        }
        for peer in ("full", "selective", "selected_full")
    }
    payload = {
        "benchmark": "logprob_memory",
        "seed": args.seed,
        "shape": {"tokens": TOKENS, "vocab": VOCAB, "width": WIDTH, "policy_share": SHARE},
        "chunk": args.chunk,
        "machine": start,
        "candidates": table,
        "ours_against": ratios,
        "targets": {"memory": MEMORY_TARGET, "time": TIME_TARGET, "gradient": GRADIENT_TARGET},
    }
    print(_timing.write("logprob_memory", payload), json.dumps(ratios, indent=2))
    for name, row in table.items():
        assert row["gradient_difference"] <= GRADIENT_TARGET, (name, row)
        assert abs(row["loss"] - table["full"]["loss"]) <= 1e-4, (name, row)
    for peer in ("full", "selective"):
        assert ratios[peer]["memory"] >= MEMORY_TARGET, ratios
        assert ratios[peer]["time"] <= TIME_TARGET, ratios


if __name__ == "__main__":
    main()
