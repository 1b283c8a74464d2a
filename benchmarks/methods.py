"""Methods side by side at equal sampled tokens, and claims of papers, each from six seeds.

    python benchmarks/methods.py                    play what is missing, then write
    python benchmarks/methods.py --write            write from what is there, play nothing
    python benchmarks/methods.py --again box,page   play these grounds anew: their start changed

What is there are the committed rows (`results/methods.jsonl`) and those under
`runs/benchmark-methods`, which come first: a fresh checkout goes on with the published table, and a
run may be stopped. Committed rows are believed, whatever they began with: who replaces a start
plays its grounds `--again` (and so once more, where that run was stopped). `--again all` plays
everything anew: some hours. Writes `results/methods.jsonl` (a row a trial), `results/methods.md`,
the tables of `docs/worlds/methods.md` and its curves.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtool.rl.methods.bench import RESULTS, read_results, run
from vtool.rl.methods.claims import CLAIMS
from vtool.rl.methods.curves import curves
from vtool.rl.methods.report import claims_table, table, tools_table
from vtool.rl.methods.trial import START, Trial, ground_of, trials

from vtool.worlds.moments_world import WORDS_CHANCE

HERE = Path(__file__).parent
OUT = HERE.parent / "runs" / "benchmark-methods"
KEPT, PAGE = HERE / "results" / "methods.jsonl", HERE.parent / "docs" / "worlds" / "methods.md"
CURVES = PAGE.parent / "images" / "methods.svg"
WORLDS, MOMENTS = HERE / "results" / "worlds.json", HERE / "results" / "moments.json"
TOKENS = 80_000
GROUNDS = ("zoom", "two", "tools", "costly", "flaky")
METHODS = (
    "answer_only",
    "zoom",
    "dr_grpo",
    "dapo",
    "gspo",
    "deepeyes",
    "otc",
    "gigpo",
    "arpo_branch",
    "tree",
)
FURTHER = (
    "useless",
    "misleading",
    "mask",
    "depth",
    "detect",
    "page",
    "sparse",
    "restless",
    "examples",
    "idle",
)
"""Worlds that are played with the plain method only, to complete the table before and after."""


def plan() -> list[Trial]:
    """Everything that is played."""
    found = trials(GROUNDS, METHODS, range(3), TOKENS)
    found += trials(["two"], ["matchtir"], range(3), TOKENS)[1:]
    for claim in CLAIMS:
        found += claim.trials(range(6), TOKENS)
    found += trials(FURTHER, ["answer_only"], range(3), TOKENS)
    found += trials(["box"], ["grounding"], range(3), TOKENS)
    return list(dict.fromkeys(found))


def compact(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what no table and no curve reads."""
    curve = [{k: c[k] for k in ("tokens", "accuracy") if k in c} for c in row["curve"]]
    held_out = {k: v for k, v in row["held_out"].items() if k != "asked"}
    return {**row, "curve": curve, "held_out": held_out}


def parts(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The tables of the page, by name."""
    at = [r for r in rows if r["ground"] in GROUNDS and r["method"] in ("start", *METHODS)]
    three = [r for r in at if r["seed"] < 3]
    plain = ("start", "answer_only", "grounding")
    before = [r for r in rows if r["method"] in plain and r["seed"] < 3]
    return {
        "METHODS": table(three),
        "CLAIMS": claims_table(rows),
        "TOOLS": tools_table(before),
        "WORLDS": worlds_table(before),
    }


def worlds_table(rows: list[dict[str, Any]]) -> str:
    """For every ground what is known of its world, and the plain method before and after."""
    known = json.loads(WORLDS.read_text(encoding="utf-8"))["worlds"]
    lines = [
        "| ground | world | start | chance | scripted best, tool off | scripted best | before | "
        "after (least-most) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["ground"] for r in rows):
        recipe = ground_of(name)
        mine = [r for r in rows if r["ground"] == name and r["error"] is None]
        first = [r["held_out"]["accuracy"] for r in mine if r["method"] == START]
        after = [r["held_out"]["accuracy"] for r in mine if r["method"] != START]
        if not first or not after:
            continue
        world = known[recipe.data.world]
        shares = [world["off"]["share"], world["best"]["share"]]
        lines.append(
            f"| {name} | {recipe.data.world} | `{recipe.model}` | {world['chance']:.2f} | "
            f"{shares[0]:.2f} | {shares[1]:.2f} | {first[0]:.3f} | "
            f"**{statistics.fmean(after):.3f}** ({min(after):.3f}-{max(after):.3f}) |"
        )
    return "\n".join([*lines, moments_line()])


def moments_line() -> str:
    """The moment world's line, from its own benchmark, which counts words apart from spans."""
    runs = json.loads(MOMENTS.read_text(encoding="utf-8"))["runs"]["joint"].values()
    before, after = ([r["rows"][w]["qa"][0] for r in runs] for w in ("before", "after"))
    least = f"**{statistics.fmean(after):.3f}** ({min(after):.3f}-{max(after):.3f})"
    head = f"| (recipe `vital`) | moments | `tiny/moments` | {WORDS_CHANCE:.2f} of words | | |"
    return f"{head} {statistics.fmean(before):.3f} | {least} |"


def fill(page: str, found: dict[str, str]) -> str:
    """The page with its tables put in anew."""
    for name, text in found.items():
        mark = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = mark.sub(lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page)
    return page


def write(rows: list[dict[str, Any]]) -> None:
    """Results, page and curves."""
    KEPT.write_text("".join(json.dumps(compact(r)) + "\n" for r in rows), encoding="utf-8")
    rows = read_results(KEPT)
    found = parts(rows)
    head = "# Methods side by side\n\nWritten by `python benchmarks/methods.py`; see "
    head += "`docs/worlds/methods.md`.\n\n"
    text = head + "\n\n".join(found.values()) + "\n"
    KEPT.with_suffix(".md").write_text(text, encoding="utf-8")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    curves([r for r in rows if r["ground"] in GROUNDS and r["method"] in METHODS], CURVES)


def kept(again: Sequence[str]) -> list[dict[str, Any]]:
    """The committed rows, less those of grounds that are played again."""
    rows = read_results(KEPT)
    return [] if "all" in again else [r for r in rows if r["ground"] not in again]


def tell(done: int, of: int, row: dict[str, Any]) -> None:
    """A trial is done."""
    said = row["error"] or f"{row['held_out']['accuracy']:.3f}"
    print(f"{done}/{of} {row['key']} {row['seconds']:.0f} s {said}", flush=True)


def main() -> int:
    """Play and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="play nothing")
    parser.add_argument("--again", default="", help="grounds whose kept rows do not count")
    parser.add_argument("--processes", type=int, default=2, help="at once, one thread each")
    args = parser.parse_args()
    wanted, known = plan(), kept(args.again.split(","))
    if args.write:
        there = {r["key"]: r for r in (*known, *read_results(OUT / RESULTS))}
        write([there[t.key] for t in wanted if t.key in there])
        return 0
    write(run(wanted, OUT, known=known, processes=args.processes, tell=tell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
