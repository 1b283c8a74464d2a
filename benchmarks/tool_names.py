"""Do random names of tools make a policy read what it is told? AdaReasoner's claim in miniature.

    OMP_NUM_THREADS=1 python benchmarks/tool_names.py [--seeds 0,1,2,3,4,5]

Two arms learn from the same scripted expert in the zoom world, told their tools (one that helps,
one that does not) in a system turn. `fixed` is always told the tools' own names; `random` is told
other names, of tools and of arguments, in every episode. Both begin with the same weights, which
have learnt to look names up by descriptions, and see equally many episodes. Each is then measured
on 300 held-out questions that need one look, greedy, under own names and under names that no
episode had; half of the questions list the tool that helps first, half list it last.

A finished arm under `runs/benchmark-tool-names` is not built again. Writes
`results/tool_names.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing

from vtool.data import load_tasks
from vtool.intervals import permutation, sign_flip_interval
from vtool.task import Task
from vtool.worlds.world import worlds

OUT = Path(__file__).parent.parent / "runs" / "benchmark-tool-names"
ARMS = ("fixed", "random")
NAMES = ("own", "new")
SAYS = {
    "accuracy": "right answers",
    "helped": "calls of the tool that helps, a question",
    "other": "calls of the other tool",
}
COUNT = 300


def base() -> Path:
    """Weights that both arms begin with."""
    from vtool.rl.tiny.told_build import build_base

    folder = OUT / "base"
    if not (folder / "README.md").is_file():
        build_base(folder)
    return folder


def built(arm: str, seed: int, scale: float) -> dict[str, Any]:
    """What one arm does under each kind of names."""
    from vtool.rl.tiny.told_build import build

    folder = OUT / f"{arm}-{seed}-{scale:g}"
    told = folder / "found.json"
    if not told.is_file():
        build(base(), folder, renamed=arm == "random", seed=seed, scale=scale, log=_quiet)
        told.write_text(json.dumps(measured(folder)))
    return {"arm": arm, "seed": seed, "found": json.loads(told.read_text())}


def measured(folder: Path) -> dict[str, Any]:
    """Accuracy and calls of a policy by names."""
    from vtool.rl.tiny.joint_measure import play_all, summary
    from vtool.rl.tiny.told import NEW_NAMES, OFFERED
    from vtool.rl.tool_names import SEEDS, renamed

    from vtool.toolbox import Toolbox

    tasks = questions()
    other = [renamed(t, SEEDS + i, words=NEW_NAMES) for i, t in enumerate(tasks)]
    found = {}
    for name, asked in (("own", tasks), ("new", other)):
        first = play_all(folder, asked[::2], Toolbox(OFFERED), 0.0)
        rows = first + play_all(folder, asked[1::2], Toolbox(OFFERED[::-1]), 0.0)
        ran = [o.bound.tool for _, e in rows for o in e.outcomes() if o.bound is not None]
        found[name] = {
            "accuracy": summary("zoom", rows)["accuracy"],
            "helped": ran.count("zoom") / len(rows),
            "other": ran.count("flip") / len(rows),
        }
    return found


def questions() -> list[Task]:
    """Held-out ones that need one look."""
    with tempfile.TemporaryDirectory() as made:
        options: dict[str, Any] = {"one": COUNT, "split": "held_out", "ask": "calls"}
        path = worlds.get("zoom").make(Path(made) / "w", seed=900_001, **options)
        return list(load_tasks(path, keep=COUNT))


def compared(rows: Sequence[dict[str, Any]], names: str, measure: str) -> dict[str, Any]:
    """Random against fixed, by seed."""
    fixed, drawn = (
        {r["seed"]: r["found"][names][measure] for r in rows if r["arm"] == arm} for arm in ARMS
    )
    gaps = [drawn[s] - fixed[s] for s in sorted(fixed)]
    low, high = sign_flip_interval(gaps)
    return {
        "names": names,
        "measure": measure,
        "fixed": statistics.fmean(fixed.values()),
        "random": statistics.fmean(drawn.values()),
        "difference": statistics.fmean(gaps),
        "low": low,
        "high": high,
        "p": permutation(gaps, range(len(gaps))),
        "seeds": len(gaps),
    }


def page(found: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# Names of tools: fixed or random in learning",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/tool_names.py`: supervised, the same start, steps "
        f"and number of episodes; {COUNT} held-out questions that need one look, greedy; chance "
        "is 0.1. Differences by seed: exact sign-flip test, and the interval that it does not "
        "refuse.",
        "",
        "| told names | what | learnt under fixed | learnt under random | difference (95 %) | p | "
        "seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['names']} | {SAYS[r['measure']]} | {r['fixed']:.3f} | {r['random']:.3f} | "
            f"{r['difference']:+.3f} ({r['low']:+.3f} to {r['high']:+.3f}) | {r['p']:.3f} | "
            f"{r['seeds']} |"
        )
    return "\n".join(lines) + "\n"


def _quiet(entry: dict[str, Any]) -> None:
    """Nobody reads the steps."""


def main() -> int:
    """Build, measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps")
    args = parser.parse_args()
    base()
    wanted = [(arm, int(s), args.scale) for s in args.seeds.split(",") for arm in ARMS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(built, *zip(*wanted, strict=True)))
    for row in rows:
        print(row)
    found = [compared(rows, names, measure) for names in NAMES for measure in SAYS]
    _timing.write("tool_names", {"benchmark": "tool_names", "rows": rows, "found": found})
    name = Path(__file__).parent / "results" / "tool_names.md"
    name.write_text(page(found), encoding="utf-8")
    print(name.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
