"""What looking again in time is worth, and what questions and grounding give each other.

    OMP_NUM_THREADS=1 python benchmarks/moments.py [--seeds 0,1,2] [--arms joint,words,...]

Every arm is `scripts/moments.py` with the recipe `vital` from the shipped start, on held-out videos
(layouts and backgrounds disjoint from training), greedy. All arms train for equally many episodes.

* `joint`: all four questions, with the tool. Measured before and after, with the tool, with the
  tool off, and with looks that show nothing.
* `words`: only `what` and `where`; `spans`: only `when`. Against `joint`: is learning both together
  better than each alone?
* `no_tool`: all four questions, trained and measured without the tool: what this reward teaches a
  policy that cannot look. Better than it is the row of the guesses: the middle of the cued stretch,
  and any word (`vtool.worlds.moments_play.blind`). The glance tells no colour and no place, so that
  for words this is the bound.

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

from vtool.data import load_tasks
from vtool.temporal_score import span_score, words_score
from vtool.worlds.moments import Ask
from vtool.worlds.moments_play import blind

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
GUESS = "guesses from the glance"
GUESSES = 40
"""Of each question."""
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


def guess(tasks: Path) -> dict[str, Any]:
    """What guessing from the glance scores, in the form of a measurement."""
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, list[float]]] = {a.value: {} for a in Ask}
    for task in load_tasks(tasks):
        kind = str(task.tags["kind"])
        answers = [blind(task.media[0], rng, Ask(kind)) for _ in range(GUESSES)]
        for noun, score in (("accuracy", words_score), ("tiou", span_score)):
            marks = [m for m in (score(a, task) for a in answers) if m is not None]
            found[kind].setdefault(noun, []).extend(marks)
    every = {n: [v for k in found.values() for v in k[n]] for n in ("accuracy", "tiou")}
    kinds = {k: {n: float(np.mean(v)) for n, v in f.items() if v} for k, f in found.items()}
    qa, tiou = ([float(np.mean(every[n]))] for n in ("accuracy", "tiou"))
    return {"qa": qa, "tiou": tiou, "by_kind": kinds, "calls": 0.0}


def table(runs: Runs, guessed: dict[str, Any]) -> list[str]:
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
    cells = [f"{v:.2f}" for v in figures(guessed)]
    return [*lines, f"| {GUESS} | " + " | ".join(cells) + " | 0.00 | - |"]


def spread(values: Any) -> str:
    """Mean, and where they differ the lowest and the highest."""
    mean, low, high = values.mean(), values.min(), values.max()
    return f"{mean:.2f}" if high - low < 0.005 else f"{mean:.2f} ({low:.2f}-{high:.2f})"


def gains(runs: Runs, guessed: dict[str, Any]) -> dict[str, list[float]]:
    """Differences by seed: what training, the tool and learning both together give."""

    def of(name: str) -> dict[int, list[float]]:
        arm, measured = ROWS[name]
        return {s: figures(r["rows"][measured]) for s, r in sorted(runs.get(arm, {}).items())}

    def less(other: str) -> list[list[float]]:
        mine, theirs = of("after"), of(other)
        seeds = [s for s in mine if s in theirs]
        return [[a - b for a, b in zip(mine[s], theirs[s], strict=True)] for s in seeds]

    chance = figures(guessed)
    found = {name: less(name) for name in ROWS if name != "after"}
    found[GUESS] = [[a - b for a, b in zip(m, chance, strict=True)] for m in of("after").values()]
    return {
        f"{name}: {COLUMNS[column]}": [round(row[column], 4) for row in rows]
        for name, rows in found.items()
        for column in (0, 1)
        if rows
    }


def write(runs: Runs, workers: int) -> None:
    """The table and the figures behind it."""
    guessed = guess(folder("joint", min(runs["joint"])) / "held_out" / "tasks.jsonl")
    found = gains(runs, guessed)
    joint = list(runs["joint"].values())
    _timing.write(
        "moments",
        {
            "runs": runs,
            "guesses": guessed,
            "after_less": found,
            "workers": workers,
            "machine": _timing.machine(),
        },
    )
    lines = [
        "# Looking again in time",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/moments.py` (its docstring says what is what); one",
        f"run is `make moments`. {joint[0]['rows']['after']['n']} held-out questions each time; "
        "mean over seeds,",
        "lowest and highest in brackets. Seconds of a run with all measurements:",
        f"{seconds(joint)}, {workers} at a time on {os.cpu_count()} cores.",
        "",
        *table(runs, guessed),
        "",
        "`after` less the other rows, one figure a seed:",
        "",
        *(f"* {k}: {', '.join(f'{v:+.2f}' for v in vs)}" for k, vs in found.items()),
    ]
    text = "\n".join(lines) + "\n"
    (_timing.RESULTS / "moments.md").write_text(text, encoding="utf-8")
    print(text)


def seconds(runs: list[dict[str, Any]]) -> str:
    """Shortest and longest."""
    taken = [r["seconds"] for r in runs]
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
    runs = read_runs()
    if "joint" in runs:
        write(runs, args.workers)


if __name__ == "__main__":
    main()
