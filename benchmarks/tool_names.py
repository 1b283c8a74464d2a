"""Do random names of tools make a policy read what it is told? AdaReasoner's claim in miniature.

    OMP_NUM_THREADS=1 python benchmarks/tool_names.py [--seeds 0,1,2,3,4,5] [--again fixed-0]

Three arms learn from the same scripted expert in the zoom world, told their tools (one that helps,
one that does not) in a system turn. `fixed` is always told the tools' own names; `random` is told
other names, of tools and of arguments, in every episode; `half` draws by episode which of the two
it is told. All begin with the same weights, which have learnt to look names up by descriptions, and
see equally many episodes. Each is then measured on 300 held-out questions that need one look,
greedy, under own names and under names that no episode had; half of the questions list the tool
that helps first, half list it last.

Rows of `results/tool_names.json` are kept: only what is missing there is built, or what `--again`
names (`fixed-0`: an arm and a seed; `all`). A finished arm under `runs/benchmark-tool-names` is not
built again. Writes `results/tool_names.json` and `.md`.
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
KEPT = Path(__file__).parent / "results" / "tool_names.json"
ARMS = {"fixed": 0.0, "random": 1.0, "half": 0.5}
"""Share of episodes whose names are drawn."""
PAIRS = (("random", "fixed"), ("half", "fixed"), ("half", "random"))
"""Which arms are held against each other."""
NAMES = ("own", "new")
SAYS = {
    "accuracy": "right answers",
    "helped": "calls of the tool that helps, a question",
    "other": "calls of the other tool",
}
COUNT = 300


def base() -> Path:
    """Weights that all arms begin with."""
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
        build(base(), folder, share=ARMS[arm], seed=seed, scale=scale, log=_quiet)
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


def compared(
    rows: Sequence[dict[str, Any]], names: str, measure: str, pair: tuple[str, str]
) -> dict[str, Any]:
    """One arm against another, by seed."""
    first, second = (
        {r["seed"]: r["found"][names][measure] for r in rows if r["arm"] == arm} for arm in pair
    )
    seeds = sorted(set(first) & set(second))
    gaps = [first[s] - second[s] for s in seeds]
    low, high = sign_flip_interval(gaps)
    return {
        "names": names,
        "measure": measure,
        "arms": list(pair),
        "first": statistics.fmean(first[s] for s in seeds),
        "second": statistics.fmean(second[s] for s in seeds),
        "difference": statistics.fmean(gaps),
        "low": low,
        "high": high,
        "p": permutation(gaps, range(len(gaps))),
        "seeds": len(gaps),
    }


def page(found: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# Names of tools: fixed, random or half and half in learning",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/tool_names.py`: supervised, the same start, steps "
        f"and number of episodes; {COUNT} held-out questions that need one look, greedy; chance "
        "is 0.1. Differences by seed: exact sign-flip test, and the interval that it does not "
        "refuse.",
        "",
        "| told names | what | learnt under | against | first | second | difference (95 %) | p | "
        "seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['names']} | {SAYS[r['measure']]} | {r['arms'][0]} | {r['arms'][1]} | "
            f"{r['first']:.3f} | {r['second']:.3f} | "
            f"{r['difference']:+.3f} ({r['low']:+.3f} to {r['high']:+.3f}) | {r['p']:.3f} | "
            f"{r['seeds']} |"
        )
    return "\n".join(lines) + "\n"


def _quiet(entry: dict[str, Any]) -> None:
    """Nobody reads the steps."""


def kept(again: Sequence[str], scale: float) -> dict[tuple[str, int], dict[str, Any]]:
    """Committed rows, less those that are built again; they are of the whole recipe."""
    if scale != 1.0 or "all" in again or not KEPT.is_file():
        return {}
    rows = json.loads(KEPT.read_text(encoding="utf-8"))["rows"]
    return {(r["arm"], r["seed"]): r for r in rows if f"{r['arm']}-{r['seed']}" not in again}


def completed(
    seeds: Sequence[int], again: Sequence[str], scale: float, processes: int
) -> list[dict[str, Any]]:
    """A row an arm and seed, kept or built now; kept ones of other seeds stay."""
    wanted = [(arm, seed) for seed in seeds for arm in ARMS]
    there = kept(again, scale)
    left = [(arm, seed, scale) for arm, seed in wanted if (arm, seed) not in there]
    if left:
        base()
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for row in pool.map(built, *zip(*left, strict=True)):
                print(row, flush=True)
                there[row["arm"], row["seed"]] = row
    return [there[key] for key in sorted(there, key=lambda k: (k[1], list(ARMS).index(k[0])))]


def main() -> int:
    """Build, measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps")
    parser.add_argument("--again", default="", help="kept rows that are built again")
    parser.add_argument("--processes", type=int, default=2, help="at once, one thread each")
    args = parser.parse_args()
    seeds = [int(s) for s in args.seeds.split(",")]
    rows = completed(seeds, args.again.split(","), args.scale, args.processes)
    found = [
        compared(rows, names, measure, pair)
        for pair in PAIRS
        for names in NAMES
        for measure in SAYS
    ]
    _timing.write("tool_names", {"benchmark": "tool_names", "rows": rows, "found": found})
    KEPT.with_suffix(".md").write_text(page(found), encoding="utf-8")
    print(page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
