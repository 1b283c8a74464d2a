"""What every world is worth: chance, controls, a random policy, the scripted best.

    OMP_NUM_THREADS=1 python benchmarks/worlds.py [--count 400] [--worlds box,depth]
    python benchmarks/worlds.py --write     put in anew what worlds say of themselves, play nothing

Plays held-out questions of each registered world through its files, its tools and the house's own
loop, in five ways: the scripted best policy with its tools; the same with the tools off, with
blank observations, and with observations of another question; and a policy that calls any tool
anywhere and guesses. `chance` is not measured: it is what a world says its scripted policy reaches
that has the first look only (`first_look.py` asks what a reader made for it would). Shares of right
answers with Wilson intervals (95 %). Writes `results/worlds.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import _timing

from vtool.worlds.measure import Share, measure_world
from vtool.worlds.world import World, worlds

COLUMNS = ("best", "off", "blank", "shuffled", "random")
SEED = 900_000


def row_of(world: World, found: dict[str, Share], seconds: float) -> dict[str, Any]:
    """A world's figures as plain values."""
    shares = {
        k: {
            "right": s.right,
            "count": s.count,
            "share": round(s.value, 4),
            "interval": [round(v, 4) for v in s.interval],
            "calls": round(s.calls, 3),
            "net": round(s.net(world.price), 4),
        }
        for k, s in found.items()
    }
    return {**said(world), "seconds": round(seconds, 1), **shares}


def said(world: World) -> dict[str, Any]:
    """What a world tells of itself; nothing of this is measured."""
    return {
        "about": world.about,
        "chance": world.chance,
        "bound": world.bound,
        "needs_tool": world.needs_tool,
        "price": world.price,
        "note": world.note,
    }


def table(report: dict[str, Any]) -> str:
    """The report as a page."""
    count = report["count"]
    lines = [
        "# Worlds",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/worlds.py --count {count}`: {count} held-out "
        "questions a world, shares of right answers with Wilson intervals (95 %). The controls "
        "play the scripted best policy; `chance` is what it reaches with the first look only (by "
        "construction, not measured; first_look.md tells what a reader made for it finds there).",
        "",
        "| world | chance | tool off | blank | shuffled | random policy | scripted best | bound | "
        "calls |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["worlds"].items():
        cells = [told(row[k]) for k in ("off", "blank", "shuffled", "random", "best")]
        lines.append(
            f"| {name} | {row['chance']:.3g} | {' | '.join(cells)} | {row['bound']:.3f} | "
            f"{row['best']['calls']:.2f} |"
        )
    lines += ["", *notes(report["worlds"])]
    return "\n".join(lines) + "\n"


def notes(rows: dict[str, Any]) -> list[str]:
    """What must be said beside the figures."""
    found = []
    for name, row in rows.items():
        if row["note"]:
            found.append(f"* {name}: {row['note']}.")
        if not row["needs_tool"]:
            found.append(f"* {name}: the first look tells the answer; nothing is lost without.")
        if row["price"]:
            net = ", ".join(f"{k} {row[k]['net']:.2f}" for k in ("best", "off", "random"))
            found.append(f"* {name}: less {row['price']:g} a call: {net}.")
    return found


def told(share: dict[str, Any]) -> str:
    """A share and its interval."""
    low, high = share["interval"]
    return f"{share['share']:.3f} ({low:.3f}-{high:.3f})"


def measured(names: Sequence[str], count: int) -> dict[str, Any]:
    """Every world, played."""
    rows = {}
    for name in names:
        started = time.perf_counter()
        found = measure_world(name, count, SEED)
        rows[name] = row_of(worlds.get(name), found, time.perf_counter() - started)
        print(name, {k: rows[name][k]["share"] for k in COLUMNS}, flush=True)
    return {"count": count, "seed": SEED, "worlds": rows, "machine": _timing.machine()}


def kept() -> dict[str, Any]:
    """What was measured before, beside what the worlds say today."""
    text = (_timing.RESULTS / "worlds.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    rows = {name: {**row, **said(worlds.get(name))} for name, row in report["worlds"].items()}
    return {**report, "worlds": rows}


def main() -> None:
    """Measure every world and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--worlds", default=",".join(worlds))
    parser.add_argument("--write", action="store_true", help="play nothing")
    args = parser.parse_args()
    report = kept() if args.write else measured(args.worlds.split(","), args.count)
    _timing.write("worlds", report)
    text = table(report)
    (_timing.RESULTS / "worlds.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
