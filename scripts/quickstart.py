"""The quick start: a tiny vision-language policy learns to look closer, on a CPU, in minutes.

Writes training and held-out questions, measures the start, trains it by reinforcement, loads the
saved checkpoint and measures that, with controls. Everything goes into one folder. The same
command on an unfinished folder goes on with it; a finished one is set aside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from vtool.eval.report import Report, to_markdown
from vtool.eval.run import Settings
from vtool.eval.suite import Measurement, measure

from vtool.data import load_tasks
from vtool.errors import DataError, VToolError
from vtool.loading import quiet_library

CONTROLS = {
    "off": "accuracy_no_tool",
    "blank": "accuracy_blank_crop",
    "overview": "accuracy_overview_crop",
    "random_box": "accuracy_random_box",
}
HELD_OUT_SEED = 900_000
"""Seeds of held-out pictures begin here; their layouts and backgrounds are disjoint by hash."""

Reports = dict[str, Report]


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    out: Path
    seed: int
    recipe: str
    start: str | None
    count: int
    photos: str | None
    changes: tuple[str, ...]


def main(words: list[str] | None = None) -> int:
    """Run it; the exit code."""
    plan = read_plan(words)
    began = time.monotonic()
    try:
        return quickstart(plan, began)
    except VToolError as err:
        print(f"quickstart: {err}", file=sys.stderr)
        return 1


def quickstart(plan: Plan, began: float) -> int:
    """The whole of it, in order."""
    from rich.console import Console
    from vtool.rl.live_table import LiveTable
    from vtool.rl.train import train

    quiet_library()
    recipe = make_recipe(plan)
    open_folder(plan)
    held_out = write_held_out(plan, recipe)
    start = recipe.model
    # A second process measures while this one trains: two cores, one thread each.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        before = submit(pool, plan, recipe, start, held_out, before_list(plan, recipe))
        console = Console()
        console.print(f"training {start} with recipe {recipe.name}, seed {plan.seed}")
        with LiveTable(console, recipe.steps) as live:
            told = {"on_step": live.update, "tell": live.say, "on_stage": live.begin}
            result = train(recipe, plan.out, **told)
        if result.model is None:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return result.exit_code
        check_disjoint(plan.out / "data" / "tasks.jsonl", held_out)
        console.print("measuring the saved checkpoint on held-out questions, with controls")
        lists = after_lists(plan, recipe)
        after = [submit(pool, plan, recipe, str(result.model), held_out, m) for m in lists]
        reports = gather(before, *after)
    summary = summarise(plan, reports, time.monotonic() - began)
    write_results(plan, recipe, summary, reports)
    tell(plan, summary)
    return 0


def read_plan(words: list[str] | None) -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--recipe", default="zoom", help="a shipped recipe or a YAML file")
    parser.add_argument("--start", help="tiny/weak, tiny/clean or a folder; else the recipe's")
    parser.add_argument("--count", type=int, default=500, help="held-out questions with one zoom")
    parser.add_argument(
        "--photos", help="folder of photographs as backgrounds; bundled: those of scikit-image"
    )
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    a = parser.parse_args(words)
    return Plan(a.out, a.seed, a.recipe, a.start, a.count, a.photos, tuple(a.changes))


def make_recipe(plan: Plan) -> Any:
    """The recipe with seed, start and backgrounds of this run."""
    from vtool.rl.recipe import load_recipe

    recipe = load_recipe(plan.recipe, plan.changes)
    options = {**recipe.data.options, "seed": plan.seed}
    if plan.photos is not None:
        options |= {"photos": plan.photos, "suffix": "jpg"}
    data = replace(recipe.data, options=options)
    return replace(recipe, seed=plan.seed, data=data, model=plan.start or recipe.model)


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


def write_held_out(plan: Plan, recipe: Any) -> Path:
    """Held-out questions of the recipe's world: one zoom, none, two.

    Raises:
        DataError: The recipe trains on a file; there is nothing to draw held-out questions from.
    """
    from vtool.rl.world_files import write_world

    if recipe.data.path is not None:
        raise DataError("the quick start draws its questions; for a file use train and eval")
    other = max(1, plan.count // 5)
    kept = {k: v for k, v in recipe.data.options.items() if k in ("photos", "suffix", "sizes")}
    counts = {"one": plan.count, "none": other, "two": other}
    options = {**kept, **counts, "seed": HELD_OUT_SEED + plan.seed, "split": "held_out"}
    spec = replace(recipe.data, options=options)
    return write_world(spec, plan.out / "held_out") / "tasks.jsonl"


def check_disjoint(train: Path, held_out: Path) -> None:
    """No layout and no background may be in both sets.

    Raises:
        DataError: One is.
    """
    for tag in ("layout", "background"):
        seen, other = ({str(r.tags[tag]) for r in load_tasks(p).rows} for p in (train, held_out))
        if seen & other:
            raise DataError(f"{len(seen & other)} {tag}s are in training and in held-out pictures")


def base_settings(recipe: Any, name: str) -> Settings:
    """Greedy, with the recipe's bounds."""
    limits = replace(recipe.limits, seconds=3600.0)
    sampling = replace(recipe.sampling, temperature=0.0)
    return Settings(name=name, sampling=sampling, limits=limits)


def before_list(plan: Plan, recipe: Any) -> list[Measurement]:
    """What is measured of the start."""
    greedy = base_settings(recipe, "before")
    sampled = replace(greedy, name="before, sampled", sampling=recipe.sampling, seed=plan.seed)
    return [
        Measurement(settings=greedy, out=str(plan.out / "eval" / "before")),
        Measurement(settings=sampled, only={"kind": "one"}),
    ]


def after_lists(plan: Plan, recipe: Any) -> list[list[Measurement]]:
    """What is measured of the trained checkpoint, in two halves of about equal length."""
    greedy = base_settings(recipe, "after")
    sampled = replace(greedy, name="after, sampled", sampling=recipe.sampling, seed=plan.seed)
    one = {"kind": "one"}
    controls = [Measurement(settings=replace(greedy, control=name), only=one) for name in CONTROLS]
    main = Measurement(settings=greedy, out=str(plan.out / "eval" / "after"))
    return [[main, controls[0]], [Measurement(settings=sampled, only=one), *controls[1:]]]


def submit(
    pool: ProcessPoolExecutor,
    plan: Plan,
    recipe: Any,
    model: str,
    tasks: Path,
    measurements: list[Measurement],
) -> Future[list[Report]]:
    """Measure in another process."""
    return pool.submit(measure, model, tasks, measurements, tools=recipe.tools)


def gather(*jobs: Future[list[Report]]) -> Reports:
    """Reports by name, controls by the control's name."""
    return {r.control or r.name: r for job in jobs for r in job.result()}


def summarise(plan: Plan, reports: Reports, seconds: float) -> dict[str, float | int | None]:
    """The figures of `summary.json`: questions that need one zoom, unless their name says so."""
    before = reports["before"].by_tag["kind"]
    after = reports["after"].by_tag["kind"]
    broken = {n: r.errors for n, r in reports.items() if r.broken}
    if broken:
        raise VToolError(f"some attempts broke, so the figures would be wrong: {broken}")
    return {
        "accuracy_before": before["one"].accuracy,
        "accuracy_after": after["one"].accuracy,
        "accuracy_sampled_after": reports["after, sampled"].total.accuracy,
        **{key: reports[name].total.accuracy for name, key in CONTROLS.items()},
        "accuracy_two_zoom": after["two"].accuracy,
        "tool_rate_before": before["one"].tool_rate,
        "tool_rate_after": after["one"].tool_rate,
        "iou_after": after["one"].iou,
        "seconds": round(seconds, 1),
        "seed": plan.seed,
        "n": after["one"].n,
    }


def write_results(plan: Plan, recipe: Any, summary: dict[str, Any], reports: Reports) -> None:
    """Summary, details, curves and the page."""
    from vtool.demos.curves import draw_curves, read_metrics
    from vtool.demos.run_report import run_page
    from vtool.demos.view import write_page

    out = plan.out
    marks = {"greedy, held out": (summary["accuracy_before"], summary["accuracy_after"])}
    curves = draw_curves(read_metrics(out / "metrics.jsonl"), out / "curves.png", marks=marks)
    page = run_page(
        "Learning to look closer",
        f"{recipe.steps} steps of reinforcement learning from {recipe.model}, "
        f"{summary['seconds']:.0f} seconds in all; greedy figures on {summary['n']} held-out "
        "questions that need a zoom, on pictures whose layouts and backgrounds were never "
        "trained on.",
        page_rows(reports),
        curves=curves,
        before=out / "eval" / "before" / "trace",
        after=out / "eval" / "after" / "trace",
    )
    write_page(page, out / "report.html")
    details = {name: r.to_json() for name, r in reports.items()}
    (out / "details.json").write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    (out / "details.md").write_text(to_markdown(list(reports.values())), encoding="utf-8")
    # Last: its presence says that the run is finished.
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def page_rows(reports: Reports) -> list[tuple[str, ...]]:
    """The table of the page."""
    names = {"none": "no zoom needed", "one": "one zoom needed", "two": "two zooms needed"}
    rows: list[tuple[str, ...]] = [("", "accuracy", "95 % interval", "tool rate", "IoU")]
    for when in ("before", "after"):
        for kind, words in names.items():
            rows.append(_row(f"{when}: {words}", reports[when].by_tag["kind"][kind]))
        rows.append(_row(f"{when}: one zoom needed, sampled", reports[f"{when}, sampled"].total))
    told = ("tool off", "blank crop", "crop of the overview", "random box")
    rows += [_row(f"control: {w}", reports[c].total) for w, c in zip(told, CONTROLS, strict=True)]
    return rows


def _row(name: str, cell: Any) -> tuple[str, ...]:
    iou = "-" if cell.iou is None else f"{cell.iou:.2f}"
    interval = f"{cell.low:.3f} to {cell.high:.3f}"
    return (name, f"{cell.accuracy:.3f}", interval, f"{cell.tool_rate:.2f}", iou)


def tell(plan: Plan, summary: dict[str, Any]) -> None:
    """The three closing lines."""
    s = summary
    print(
        f"learnt: {s['accuracy_before']:.3f} -> {s['accuracy_after']:.3f} of {s['n']} held-out "
        f"questions right in {s['seconds']:.0f} s; without the tool {s['accuracy_no_tool']:.3f}, "
        f"with a blank crop {s['accuracy_blank_crop']:.3f}"
    )
    print(f"look at: {plan.out}/report.html (episodes, boxes, curves), {plan.out}/summary.json")
    picture, question = example(plan.out / "held_out")
    print(f'try: {command()} ask {picture} "{question}" --model {plan.out}/model')


def example(held_out: Path) -> tuple[Path, str]:
    """A held-out picture and its question, one that needs a zoom."""
    with (held_out / "tasks.jsonl").open(encoding="utf-8") as lines:
        row = next(r for r in map(json.loads, lines) if r["tags"]["zooms"] == 1)
    return held_out / row["images"][0], row["messages"][0]["content"].removeprefix("<image>")


def command() -> str:
    """How `vtool` is called from here: it may not be on the path."""
    tool = Path(sys.executable).with_name("vtool")
    return str(tool.relative_to(Path.cwd())) if tool.is_relative_to(Path.cwd()) else str(tool)


if __name__ == "__main__":
    raise SystemExit(main())
