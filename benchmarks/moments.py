"""What looking again in time is worth, and what questions and grounding give each other.

    OMP_NUM_THREADS=1 python benchmarks/moments.py [--seeds 0,1,2] [--arms joint,words,...]

Every arm is `scripts/moments.py` with the recipe `vital` from the shipped start, on held-out videos
(layouts and backgrounds disjoint from training), greedy. All arms train for equally many episodes.

* `joint`: all four questions, with the tool. Measured before and after, with the tool, with the
  tool off, and with looks that show nothing.
* `words`: only `what` and `where`; `spans`: only `when`. Against `joint`: is learning both together
  better than each alone?
* `no_tool`: all four questions, trained and measured without the tool. Unlike `joint` with its
  tool taken away, this policy has learnt to do without.

Finished runs under `runs/benchmark-moments` are kept and read again: it may be run in parts. Writes
`results/moments.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
import numpy as np

ROOT = Path(__file__).parent.parent
WORK = ROOT / "runs" / "benchmark-moments"
ARMS: dict[str, tuple[str, ...]] = {
    "joint": (),
    "words": ("--asks", "what,where", "--no-before"),
    "spans": ("--asks", "when", "--no-before"),
    "no_tool": ("--no-tool", "--no-before"),
}
ROWS = {
    "before": ("joint", "before"),
    "before, tool off": ("joint", "before, tool off"),
    "after": ("joint", "after"),
    "after, tool off": ("joint", "after, tool off"),
    "after, blank looks": ("joint", "after, blank looks"),
    "trained without the tool": ("no_tool", "after, tool off"),
    "trained on what and where alone": ("words", "after"),
    "trained on when alone": ("spans", "after"),
}
"""Rows of the table: the arm that they come from, and the measurement."""
COLUMNS = ("QA accuracy", "mean tIoU", "what", "where", "when (tIoU)", "both", "both (tIoU)")
Runs = dict[str, dict[int, dict[str, Any]]]


def folder(arm: str, seed: int) -> Path:
    """Where a run lies."""
    return WORK / f"{arm}-{seed}"


def train(arm: str, seed: int, videos: int) -> None:
    """One run in a process of its own, unless it is there.

    Raises:
        RuntimeError: It failed.
    """
    out = folder(arm, seed)
    if (out / "summary.json").is_file():
        return
    words = ["--seed", str(seed), "--out", str(out), "--videos", str(videos), *ARMS[arm]]
    print(f"{arm}, seed {seed}", flush=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "moments.py"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
    print(done.stdout[done.stdout.rfind("learnt:") :], flush=True)


def read_runs() -> Runs:
    """Summaries of all finished runs, by arm and seed."""
    found: Runs = {}
    for arm in ARMS:
        for path in sorted(WORK.glob(f"{arm}-*/summary.json")):
            summary = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(arm, {})[int(summary["seed"])] = summary
    return found


def figures(row: dict[str, Any]) -> list[float]:
    """The table's columns of one measurement."""
    kinds = row["by_kind"]
    return [
        row["qa"][0],
        row["tiou"][0],
        kinds["what"]["accuracy"],
        kinds["where"]["accuracy"],
        kinds["when"]["tiou"],
        kinds["both"]["accuracy"],
        kinds["both"]["tiou"],
    ]


def table(runs: Runs) -> list[str]:
    """Mean over seeds, lowest and highest behind it."""
    lines = [
        "| | " + " | ".join(COLUMNS) + " | calls | seeds |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for name, (arm, measured) in ROWS.items():
        rows = [s["rows"][measured] for s in runs.get(arm, {}).values()]
        if not rows:
            continue
        values = np.array([figures(r) for r in rows])
        cells = [spread(v) for v in values.T]
        calls = np.mean([r["calls"] for r in rows])
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {calls:.2f} | {len(rows)} |")
    return lines


def spread(values: Any) -> str:
    """Mean, and where they differ the lowest and the highest."""
    mean, low, high = values.mean(), values.min(), values.max()
    return f"{mean:.2f}" if high - low < 0.005 else f"{mean:.2f} ({low:.2f}-{high:.2f})"


def gains(runs: Runs) -> dict[str, list[float]]:
    """Differences by seed: what the tool gives, and what learning both together gives."""

    def pairs(one: str, other: str, column: int) -> list[float]:
        (a, x), (b, y) = ROWS[one], ROWS[other]
        seeds = sorted(runs.get(a, {}).keys() & runs.get(b, {}).keys())
        return [
            round(
                figures(runs[a][s]["rows"][x])[column] - figures(runs[b][s]["rows"][y])[column], 4
            )
            for s in seeds
        ]

    no_tool = "trained without the tool"
    words, spans = "trained on what and where alone", "trained on when alone"
    return {
        "training, QA accuracy": pairs("after", "before", 0),
        "training, mean tIoU": pairs("after", "before", 1),
        "tool against none in training, QA accuracy": pairs("after", no_tool, 0),
        "tool against none in training, mean tIoU": pairs("after", no_tool, 1),
        "joint against words alone, `what`": pairs("after", words, 2),
        "joint against words alone, `where`": pairs("after", words, 3),
        "joint against spans alone, `when` (tIoU)": pairs("after", spans, 4),
    }


def write(runs: Runs, workers: int) -> None:
    """The table and the figures behind it."""
    found = gains(runs)
    joint = list(runs.get("joint", {}).values())
    report = {"runs": runs, "gains": found, "workers": workers, "machine": _timing.machine()}
    _timing.write("moments", report)
    lines = [
        "# Looking again in time",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/moments.py` (its docstring says what is what); one",
        "run is `make moments`. Held-out questions a measurement: "
        f"{joint[0]['rows']['after']['n'] if joint else 0}; mean over seeds, lowest and highest",
        f"in brackets. Seconds of a run with all measurements: {seconds(joint)}, {workers} at a",
        f"time on {os.cpu_count()} cores.",
        "",
        *table(runs),
        "",
        "Differences, one figure a seed:",
        "",
        *(f"* {k}: {', '.join(f'{v:+.2f}' for v in vs)}" for k, vs in found.items() if vs),
    ]
    text = "\n".join(lines) + "\n"
    (_timing.RESULTS / "moments.md").write_text(text, encoding="utf-8")
    print(text)


def seconds(runs: list[dict[str, Any]]) -> str:
    """Shortest and longest."""
    taken = [r["seconds"] for r in runs] or [0.0]
    return f"{min(taken):.0f} to {max(taken):.0f}"


def main() -> None:
    """Train what is missing, then write what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, a core each")
    parser.add_argument("--videos", type=int, default=60, help="held-out ones")
    args = parser.parse_args()
    jobs = [(arm, int(seed)) for seed in args.seeds.split(",") for arm in args.arms.split(",")]
    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(lambda job: train(*job, args.videos), jobs))
    write(read_runs(), args.workers)


if __name__ == "__main__":
    main()
