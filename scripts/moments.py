"""Looking again in time: a tiny policy learns where in a video to look, on a CPU, in minutes.

Writes training and held-out videos, measures the start, trains it by the recipe, loads the saved
checkpoint and measures that, with the tool and without. Everything goes into one folder. The same
command on an unfinished folder goes on with it; a finished one is set aside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from vtool.eval.report import Report
from vtool.eval.run import Settings
from vtool.eval.suite import Measurement, measure

from vtool.data import TaskFile, load_tasks
from vtool.errors import DataError, VToolError
from vtool.loading import quiet_library
from vtool.task import Task
from vtool.temporal_score import span_score, words_score

HELD_OUT_SEED = 900_000
"""Seeds of held-out videos begin here; their layouts and backgrounds are disjoint by hash."""
RESAMPLES = 1000
CONTROLS = {"tool off": "off", "blank looks": "blank"}
"""Ends of a measurement's name, and what is then done to the tool."""


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    out: Path
    seed: int
    recipe: str
    start: str | None
    videos: int
    asks: tuple[str, ...]
    tool: bool
    before: bool
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Marks:
    """Scores of one answer, and the video that it is about."""

    video: str
    words: float | None
    span: float | None


def main(words: list[str] | None = None) -> int:
    """Run it; the exit code."""
    plan = read_plan(words)
    began = time.monotonic()
    try:
        return run(plan, began)
    except VToolError as err:
        print(f"moments: {err}", file=sys.stderr)
        return 1


def read_plan(words: list[str] | None) -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/moments"))
    parser.add_argument("--recipe", default="vital", help="a shipped recipe or a YAML file")
    parser.add_argument("--start", help="tiny/moments or a folder; else the recipe's")
    parser.add_argument("--videos", type=int, default=60, help="held-out ones, four questions each")
    parser.add_argument(
        "--asks", default="what,where,when,both", help="questions of training, with commas between"
    )
    parser.add_argument("--no-tool", action="store_true", help="train without the tool")
    parser.add_argument("--no-before", action="store_true", help="leave the start unmeasured")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    a = parser.parse_args(words)
    return Plan(
        out=a.out,
        seed=a.seed,
        recipe=a.recipe,
        start=a.start,
        videos=a.videos,
        asks=tuple(a.asks.split(",")),
        tool=not a.no_tool,
        before=not a.no_before,
        changes=tuple(a.changes),
    )


def run(plan: Plan, began: float) -> int:
    """The whole of it, in order."""
    from rich.console import Console
    from vtool.rl.live_table import LiveTable
    from vtool.rl.train import train

    quiet_library()
    open_folder(plan)
    recipe = make_recipe(plan)
    held_out = write_held_out(plan)
    check_disjoint(Path(recipe.data.path), held_out)
    start = recipe.model
    # A second process measures while this one trains: two cores, one thread each.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first = ("before", "before, tool off") if plan.before else ()
        before = submit(pool, plan, recipe, start, held_out, first)
        console = Console()
        console.print(f"training {start} with recipe {recipe.name}, seed {plan.seed}")
        with LiveTable(console, recipe.steps) as live:
            told = {"on_step": live.update, "tell": live.say, "on_stage": live.begin}
            result = train(recipe, plan.out, **told)
        if result.model is None:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return result.exit_code
        console.print("measuring the saved checkpoint on held-out questions")
        model = str(result.model)
        after = submit(pool, plan, recipe, model, held_out, ("after",))
        controls = ("after, tool off", "after, blank looks")
        off = submit(pool, plan, recipe, model, held_out, controls)
        reports = {r.name: r for job in (before, after, off) for r in job.result()}
    tasks = load_tasks(held_out)
    table = {name: row(plan.out / "eval" / slug(name), tasks, reports[name]) for name in reports}
    summary = {"seed": plan.seed, "seconds": round(time.monotonic() - began, 1), "rows": table}
    (plan.out / "table.md").write_text(to_markdown(table), encoding="utf-8")
    (plan.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    tell(plan, summary)
    return 0


def open_folder(plan: Plan) -> None:
    """Go on with an unfinished run of the same plan; set anything else aside."""
    mark = plan.out / "plan.json"
    told = json.dumps({k: str(v) for k, v in vars(plan).items()}, indent=2)
    same = mark.is_file() and mark.read_text(encoding="utf-8") == told
    if plan.out.exists() and (not same or (plan.out / "summary.json").exists()):
        number = 1
        while (aside := plan.out.with_name(f"{plan.out.name}.old-{number}")).exists():
            number += 1
        plan.out.rename(aside)
        print(f"{plan.out} was there; it is {aside} now")
    plan.out.mkdir(parents=True, exist_ok=True)
    mark.write_text(told, encoding="utf-8")


def make_recipe(plan: Plan) -> Any:
    """The recipe with this run's seed, start and questions, its videos written once."""
    from vtool.rl.recipe import load_recipe
    from vtool.rl.world_files import write_world

    recipe = load_recipe(plan.recipe, plan.changes)
    if recipe.data.path is None:
        options = {**recipe.data.options, "seed": 1 + plan.seed, "asks": list(plan.asks)}
        folder = write_world(replace(recipe.data, options=options), plan.out / "data")
        recipe = replace(recipe, data=replace(recipe.data, path=str(folder / "tasks.jsonl")))
    tools = recipe.tools if plan.tool else ()
    return replace(recipe, seed=plan.seed, model=plan.start or recipe.model, tools=tools)


def write_held_out(plan: Plan) -> Path:
    """Held-out videos, each asked about in every way."""
    from vtool.rl.recipe import DataSpec
    from vtool.rl.world_files import write_world

    options = {"seed": HELD_OUT_SEED, "videos": plan.videos, "split": "held_out"}
    spec = DataSpec(world="moments", options=options)
    return write_world(spec, plan.out / "held_out") / "tasks.jsonl"


def check_disjoint(train: Path, held_out: Path) -> None:
    """No layout and no background may be in both sets.

    Raises:
        DataError: One is.
    """
    for tag in ("layout", "background"):
        seen, other = (
            {str((r.tags or {})[tag]) for r in load_tasks(p).rows} for p in (train, held_out)
        )
        if seen & other:
            raise DataError(f"{len(seen & other)} {tag}s are in training and in held-out videos")


def submit(
    pool: ProcessPoolExecutor,
    plan: Plan,
    recipe: Any,
    model: str,
    tasks: Path,
    names: Sequence[str],
) -> Future[list[Report]]:
    """Measure in another process, greedily; the end of a name says the control."""
    limits = replace(recipe.limits, seconds=3600.0)
    sampling = replace(recipe.sampling, temperature=0.0)
    jobs = [
        Measurement(
            settings=Settings(
                name=name,
                sampling=sampling,
                limits=limits,
                metric="temporal",
                control=next((c for end, c in CONTROLS.items() if name.endswith(end)), None),
            ),
            out=str(plan.out / "eval" / slug(name)),
        )
        for name in names
    ]
    return pool.submit(measure, model, tasks, jobs, tools=("resample",))


def slug(name: str) -> str:
    """A folder's name."""
    return name.replace(", ", "-").replace(" ", "-")


# ------------------------------------------------------------------------- figures


def row(folder: Path, tasks: TaskFile, report: Report) -> dict[str, Any]:
    """Accuracy of words and mean overlap of spans, with intervals over videos, and tool use.

    Raises:
        VToolError: Some attempts broke.
    """
    if report.broken:
        raise VToolError(f"{report.name}: some attempts broke: {report.errors}")
    marks = read_marks(folder, tasks)
    kinds: dict[str, list[Marks]] = {}
    for kind, mark in marks:
        kinds.setdefault(kind, []).append(mark)
    return {
        "qa": interval([(m.video, m.words) for _, m in marks if m.words is not None]),
        "tiou": interval([(m.video, m.span) for _, m in marks if m.span is not None]),
        "by_kind": {kind: plain(some) for kind, some in sorted(kinds.items())},
        "tool_rate": round(report.total.tool_rate, 4),
        "calls": round(report.total.calls, 4),
        "n": report.total.n,
    }


def read_marks(folder: Path, tasks: TaskFile) -> list[tuple[str, Marks]]:
    """Kind and scores of every attempt of a trace, its pictures left where they are."""
    place = {name: i for i, name in enumerate(tasks.ids)}
    found = []
    with (folder / "trace" / "episodes.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            body = json.loads(line)
            episode = body.get("episode", body)
            task = tasks[place[episode["task_id"]]]
            found.append((str(task.tags["kind"]), marks_of(episode, task)))
    return found


def marks_of(episode: dict[str, Any], task: Task) -> Marks:
    """Scores of one attempt; only an episode that ended with its answer has one."""
    answer = episode["answer"] if episode["stop"] == "answered" else None
    video = task.id.rsplit("-", 1)[0]
    return Marks(video, words_score(answer, task), span_score(answer, task))


def interval(values: Sequence[tuple[str, float]]) -> list[float]:
    """Mean and 95 % interval by resampling videos: questions about one are not independent."""
    if not values:
        return [0.0, 0.0, 0.0]
    names = sorted({name for name, _ in values})
    sums = np.array([[sum(v for n, v in values if n == name) for name in names]])
    counts = np.array([[sum(n == name for n, _ in values) for name in names]])
    picks = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[0][picks].sum(1) / counts[0][picks].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [round(float(v), 4) for v in (sums.sum() / counts.sum(), low, high)]


def plain(marks: Sequence[Marks]) -> dict[str, float]:
    """Means of one kind of question."""
    words = [m.words for m in marks if m.words is not None]
    spans = [m.span for m in marks if m.span is not None]
    found = {"accuracy": words, "tiou": spans}
    return {k: round(sum(v) / len(v), 4) for k, v in found.items() if v}


def to_markdown(table: dict[str, dict[str, Any]]) -> str:
    """The table that is printed and kept."""
    lines = [
        "| | QA accuracy | 95 % | mean tIoU | 95 % | what | where | when (tIoU) | both | calls |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in table.items():
        k = r["by_kind"]
        both = k.get("both", {})
        cells = [
            *(f"{r[key][0]:.3f} | {r[key][1]:.3f}-{r[key][2]:.3f}" for key in ("qa", "tiou")),
            *(f"{k.get(a, {}).get('accuracy', 0.0):.2f}" for a in ("what", "where")),
            f"{k.get('when', {}).get('tiou', 0.0):.2f}",
            f"{both.get('accuracy', 0.0):.2f} / {both.get('tiou', 0.0):.2f}",
            f"{r['calls']:.2f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tell(plan: Plan, summary: dict[str, Any]) -> None:
    """The closing lines."""
    rows = summary["rows"]
    print(to_markdown(rows))
    after, off = rows["after"], rows["after, tool off"]
    before = rows.get("before", after)
    told = [
        f"{noun} {before[key][0]:.3f} -> {after[key][0]:.3f} (tool off {off[key][0]:.3f})"
        for noun, key in (("QA accuracy", "qa"), ("mean tIoU", "tiou"))
    ]
    print(f"learnt: {', '.join(told)}; {after['n']} held-out questions, {summary['seconds']:.0f} s")
    print(f"look at: {plan.out}/table.md, {plan.out}/summary.json, {plan.out}/eval/after/trace")


if __name__ == "__main__":
    raise SystemExit(main())
