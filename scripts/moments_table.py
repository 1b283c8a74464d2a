"""What the tool and what learning both tasks at once are worth: arms and seeds into one table.

Each arm trains the shipped start of the moment world by the same recipe, with as many steps, and
is measured greedily on the same held-out videos: `joint` (what, where, when, both), `qa` (what and
where), `grounding` (when), and `no-tool` (joint, trained and measured without the tool). A run
that is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ARMS = {
    "joint": ["--asks", "what,where,when,both"],
    "qa": ["--asks", "what,where"],
    "grounding": ["--asks", "when"],
    "no-tool": ["--asks", "what,where,when,both", "--no-tool"],
}
TOLD = {
    "joint": "joint QA and grounding",
    "qa": "QA only (what, where)",
    "grounding": "grounding only (when)",
    "no-tool": "joint, trained without the tool",
}
HERE = Path(__file__).parent
FIGURES = ("qa", "tiou", "what", "where", "when", "both_words", "both_span", "calls")


def main() -> int:
    """Run what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=Path, default=Path("runs/moments_table"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/moments"))
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    options = parser.parse_args()
    seeds = [int(s) for s in options.seeds.split(",")]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        for arm, words in ARMS.items():
            first = [] if (arm, seed) == ("joint", seeds[0]) else ["--no-before"]
            folder = options.runs / f"{arm}-{seed}"
            found[arm].append(one(folder, seed, [*words, *first, *options.changes]))
            write(options.out, found, seeds, options.changes)
    return 0


def one(folder: Path, seed: int, words: list[str]) -> dict[str, Any]:
    """One run's summary."""
    summary = folder / "summary.json"
    if not summary.is_file():
        command = [sys.executable, str(HERE / "moments.py"), "--out", str(folder)]
        subprocess.run([*command, "--seed", str(seed), *words], check=True)
    body: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return body


def figures(row: dict[str, Any]) -> dict[str, float]:
    """The figures of one measurement."""
    kinds = row["by_kind"]
    return {
        "qa": row["qa"][0],
        "tiou": row["tiou"][0],
        "what": kinds["what"]["accuracy"],
        "where": kinds["where"]["accuracy"],
        "when": kinds["when"]["tiou"],
        "both_words": kinds["both"]["accuracy"],
        "both_span": kinds["both"]["tiou"],
        "calls": row["calls"],
    }


def write(
    out: Path, found: dict[str, list[dict[str, Any]]], seeds: list[int], changes: list[str]
) -> None:
    """Table and numbers of what is there so far."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Looking again in time: the tool, and both tasks at once",
        "",
        "Mean over seeds with the range of the seeds below it; greedy, on the same held-out videos "
        f"({found['joint'][0]['rows']['after']['n']} questions). QA accuracy is over `what`, "
        "`where` and the words of `both`; mean tIoU over `when` and the span of `both`. An arm "
        "that never saw a kind of question in training still answers it here, as the start taught "
        "it to. Intervals of single runs (videos resampled) are in `runs.json`.",
        "",
        "| arm | seeds | QA accuracy | mean tIoU | what | where | when | both: words | both: span "
        "| calls |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    start = found["joint"][0]["rows"]
    for title, name in (("start", "before"), ("start, tool off", "before, tool off")):
        lines.append(line(title, [figures(start[name])]))
    for arm, runs in found.items():
        if not runs:
            continue
        key = "after, tool off" if arm == "no-tool" else "after"
        lines.append(line(TOLD[arm], [figures(r["rows"][key]) for r in runs]))
        if arm == "joint":
            off = [figures(r["rows"]["after, tool off"]) for r in runs]
            lines.append(line("the same, tool taken away afterwards", off))
    words = " ".join(
        ["python scripts/moments_table.py --seeds", ",".join(map(str, seeds)), *changes]
    )
    seconds = [r["seconds"] for runs in found.values() for r in runs]
    lines += ["", f"Command: `OMP_NUM_THREADS=1 {words}`", ""]
    lines += [f"Seconds a run: {min(seconds):.0f} to {max(seconds):.0f}.", ""]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")
    (out / "runs.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def line(title: str, rows: list[dict[str, float]]) -> str:
    """One row of the table."""
    cells = []
    for name in FIGURES:
        values = np.array([r[name] for r in rows])
        spread = f" ({values.min():.2f}-{values.max():.2f})" if len(values) > 1 else ""
        cells.append(f"{values.mean():.3f}{spread}")
    return f"| {title} | {len(rows)} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    raise SystemExit(main())
