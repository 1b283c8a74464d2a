"""Does one policy of two worlds beat one policy a world? Questions and grounding, VITAL's claim.

    OMP_NUM_THREADS=1 python benchmarks/joint.py [--minutes 20] [--seeds 0,1,2,3,4,5]

Three arms learn from the scripted experts, from the same start and for the same steps: `zoom`
(answers in words), `box` (answers with a box), and both. Every arm sees the same number of
episodes of a world that it is taught; the joint arm sees the other world's beside them. So the
question is what the other world adds (or takes away), at no cost in own examples. Measured on 400
held-out questions a world, greedy. A finished arm under `runs/benchmark-joint` is not built again.

`--minutes` shrinks the recipe (26 is whole). Writes `results/joint.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing

from vtool.intervals import permutation, sign_flip_interval
from vtool.worlds.world import worlds

OUT = Path(__file__).parent.parent / "runs" / "benchmark-joint"
ARMS = {"zoom": {"zoom": 10}, "box": {"box": 10}, "both": {"zoom": 10, "box": 10}}
"""Episodes a batch."""
COUNT = 400


def built(arm: str, seed: int, minutes: float) -> dict[str, Any]:
    """Accuracy by world of one arm."""
    from vtool.rl.tiny.joint_build import build
    from vtool.rl.tiny.joint_measure import measure

    folder = OUT / f"{arm}-{seed}-{minutes:g}"
    told = folder / "accuracy.json"
    if not told.is_file():
        plan = {"seed": seed, "minutes": minutes, "count": 8, "shares": ARMS[arm]}
        build(folder, **plan, videos=False, log=lambda entry: None)
        found = measure(folder / "joint", count=COUNT, names=tuple(ARMS[arm]))
        told.write_text(json.dumps({n: r["accuracy"] for n, r in found.items()}))
    accuracy: dict[str, Any] = json.loads(told.read_text())
    return {"arm": arm, "seed": seed, "accuracy": accuracy}


def compared(rows: list[dict[str, Any]], world: str) -> dict[str, Any]:
    """Both against alone, by seed."""
    alone, both = (
        {r["seed"]: r["accuracy"][world] for r in rows if r["arm"] == arm}
        for arm in (world, "both")
    )
    gaps = [both[s] - alone[s] for s in sorted(alone)]
    low, high = sign_flip_interval(gaps)
    return {
        "world": world,
        "alone": statistics.fmean(alone.values()),
        "both": statistics.fmean(both.values()),
        "difference": statistics.fmean(gaps),
        "low": low,
        "high": high,
        "p": permutation(gaps, range(len(gaps))),
        "seeds": len(gaps),
    }


def page(found: list[dict[str, Any]], minutes: float) -> str:
    """Markdown."""
    lines = [
        "# Questions and grounding: together and alone",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/joint.py --minutes {minutes:g}`: supervised, the "
        f"same start and steps, as many episodes of a world in either arm; {COUNT} held-out "
        "questions, greedy. Differences by seed: exact sign-flip test, and the interval that it "
        "does not refuse.",
        "",
        "| world | alone | both | difference (95 %) | p | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['world']} | {r['alone']:.3f} | {r['both']:.3f} | {r['difference']:+.3f} "
            f"({r['low']:+.3f} to {r['high']:+.3f}) | {r['p']:.2f} | {r['seeds']} |"
        )
    low = [r["world"] for r in found if max(r["alone"], r["both"]) < worlds.get(r["world"]).chance]
    lines += ["", *(f"{w}: neither arm reaches chance in so few steps." for w in low)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Build, measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    args = parser.parse_args()
    wanted = [(arm, int(s), args.minutes) for s in args.seeds.split(",") for arm in ARMS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(built, *zip(*wanted, strict=True)))
    for row in rows:
        print(row)
    found = [compared(rows, world) for world in ("zoom", "box")]
    _timing.write("joint", {"benchmark": "joint", "rows": rows, "found": found})
    name = Path(__file__).parent / "results" / "joint.md"
    name.write_text(page(found, args.minutes), encoding="utf-8")
    print(name.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
