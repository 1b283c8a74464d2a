"""Commands of this wing: `vtool eval TASKS`, `vtool eval compare A B`, `vtool eval export`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vtool.commands.output import AsJson, print_json
from vtool.commands.own_tools import ready_tools_of
from vtool.errors import DataError

from .controls import controls

if TYPE_CHECKING:
    from vtool.task import Task

    from .benchmarks.entry import Opened
    from .judging import Judging
    from .report import Report
    from .sweep import Variant


class RunByDefault(TyperGroup):
    """A group whose words are a run's unless they begin with another command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` in front where no command is named."""
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named or not args else ["run", *args])


app = typer.Typer(
    cls=RunByDefault,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measure a policy: `vtool eval TASKS`, a task file or a benchmark. "
    "`vtool eval run --help` lists the options.",
)


@app.command("run")
def evaluate(
    tasks: Annotated[
        str, typer.Argument(help="A .jsonl file of tasks, or a benchmark's name with --root.")
    ],
    root: Annotated[Path | None, typer.Option(help="Folder of the benchmark's files.")] = None,
    split: Annotated[str | None, typer.Option(help="Its split, where it has several.")] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="Judge as its published scorer does, quirks and all."),
    ] = False,
    metric: Annotated[
        str | None, typer.Option(help="Metric by name; the benchmark's, or exact_match.")
    ] = None,
    model: Annotated[str, typer.Option(help="A folder, tiny/clean, or owner/name.")] = "tiny/clean",
    k: Annotated[int, typer.Option("-k", "--attempts", min=1, help="Attempts a task.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    tools: Annotated[
        str | None,
        typer.Option(
            help="Tools on offer, by name, with commas; the benchmark's, the checkpoint's, or zoom."
        ),
    ] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="Also run this control; may be said several times.")
    ] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Run with no, chosen, all tools and random boxes.")
    ] = False,
    sweep: Annotated[
        str | None, typer.Option(help="Run under several budgets, such as max_turns=1,2,4.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N tasks.")] = None,
    predict_only: Annotated[
        bool, typer.Option("--predict-only", help="Keep the answers, score nothing.")
    ] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score what --out holds again; play nothing.")
    ] = False,
    judge_url: Annotated[
        str | None, typer.Option(help="Chat-completions address of a judge; asked after the rule.")
    ] = None,
    judge_model: Annotated[str, typer.Option(help="Its model's name.")] = "judge",
    judge: Annotated[str | None, typer.Option(help="A registered judge, by name.")] = None,
    out: Annotated[Path, typer.Option(help="Trace and reports; resumed if there.")] = Path(
        "runs/eval"
    ),
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns of an episode.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a context.")] = 4096,
    max_images: Annotated[int, typer.Option(min=1, help="Pictures of an episode.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time of an episode.")] = 3600.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes at once.")] = 64,
    decoders: Annotated[int, typer.Option(min=1, help="Threads that open media.")] = 2,
    json: AsJson = False,
) -> None:
    """Measure a policy on a task file or a benchmark: accuracy with intervals, tool use, controls.

    A folder that holds part of the same evaluation is gone on with.
    """
    from vtool.benchmark import accepted
    from vtool.environment import Limits
    from vtool.record import Sampling
    from vtool.toolbox import Toolbox

    from .benchmarks.entry import open_tasks
    from .fit import check_fit
    from .run import Settings

    for name in control or ():
        controls.get(name)
    if sum((bool(control), ablation, sweep is not None)) > 1:
        raise DataError("expected one of --control, --ablation and --sweep at a time")
    opened = open_tasks(tasks, root, split, as_published=published)
    chosen = opened.tasks[:limit]
    settings = Settings(
        name=opened.name,
        metric=metric or opened.metric,
        k=k,
        sampling=Sampling(temperature=temperature),
        limits=Limits(
            max_turns=max_turns, max_tokens=max_tokens, max_images=max_images, seconds=seconds
        ),
        seed=seed,
    )
    asked = _judging(judge, judge_url, judge_model)
    if rescore or not predict_only:
        check_fit(settings.metric, chosen, opened.benchmark.says if opened.benchmark else accepted)
    if k > 1 and temperature == 0:
        typer.echo("at temperature 0 attempts differ by the luck of tools alone", err=True)
    # What is scored again was played already: no checkpoint is needed for it.
    toolbox = Toolbox(_offered(tools, opened, None if rescore else model))
    variants = _variants(settings, toolbox, control or (), ablation, sweep)
    play = _Play(opened, chosen, out, asked, predict_only, concurrency, decoders)
    reports = play.rescore(variants) if rescore else play.run(variants, model)
    _tell(reports, out, json)
    if any(r.broken and not r.total.attempts for r in reports):
        raise typer.Exit(1)  # scripts must not go on with the number of nothing


def _offered(tools: str | None, opened: Opened, model: str | None) -> list[str]:
    """Names of the tools on offer: those asked for, a benchmark's, or the checkpoint's own."""
    if tools is not None:
        return [t.strip() for t in tools.split(",") if t.strip()]
    return list(opened.tools if opened.benchmark or model is None else ready_tools_of(model))


class _Play:
    """The evaluations of one command."""

    def __init__(
        self,
        opened: Opened,
        chosen: Sequence[Task],
        out: Path,
        judging: Judging | None,
        predict_only: bool,
        concurrency: int,
        decoders: int,
    ) -> None:
        self.opened, self.chosen, self.out, self.judging = opened, chosen, out, judging
        self.predict_only, self.concurrency, self.decoders = predict_only, concurrency, decoders

    def run(self, variants: Sequence[Variant], model: str) -> list[Report]:
        """Play what is missing."""
        from dataclasses import replace

        from vtool.loading import load_policy

        from .run import evaluate as play

        policy = load_policy(model)
        reports = []
        for variant in variants:
            job = play(
                self.chosen,
                renderer=policy.renderer,
                engine=policy.engine,
                toolbox=variant.toolbox,
                settings=replace(
                    variant.settings, policy=str(policy.folder), weights=policy.digest
                ),
                out=self.out / variant.name,
                concurrency=self.concurrency,
                judging=self.judging,
                predict_only=self.predict_only,
                decoders=self.decoders,
            )
            reports.append(asyncio.run(job))
            self._table(variant)
        for box in {id(v.toolbox): v.toolbox for v in variants}.values():
            asyncio.run(box.close())
        return reports

    def rescore(self, variants: Sequence[Variant]) -> list[Report]:
        """Score what is there."""
        from .run import rescore

        reports = []
        for variant in variants:
            folder, metric = self.out / variant.name, variant.settings.metric
            job = rescore(self.chosen, folder, metric=metric, judging=self.judging)
            reports.append(asyncio.run(job))
            self._table(variant)
        return reports

    def _table(self, variant: Variant) -> None:
        from .benchmarks.table import write_table

        write_table(self.opened, self.chosen, self.out / variant.name)


def _judging(name: str | None, url: str | None, model: str) -> Judging | None:
    from vtool.judge import judges

    from .http_judge import HttpJudge, is_address
    from .judging import Judging

    if name is not None and url is not None:
        raise DataError("expected --judge or --judge-url, got both")
    if url is not None:
        if not is_address(url):
            raise DataError(f"expected an http address of the judge, got {url!r}")
        service = HttpJudge(url, model)
        return Judging(service, service.name)
    return None if name is None else Judging(judges.get(name), name)


def _variants(
    settings: Any, toolbox: Any, names: Sequence[str], ablated: bool, sweep: str | None
) -> list[Variant]:
    from .sweep import ablation, budgets, controlled

    if sweep is not None:
        return budgets(settings, toolbox, sweep)
    return ablation(settings, toolbox) if ablated else controlled(settings, toolbox, names)


def _tell(reports: Sequence[Report], out: Path, json: bool) -> None:
    from .page import render_page
    from .report import to_markdown
    from .results import to_csv, write_whole

    if len(reports) > 1:
        write_whole(out / "report.html", render_page(reports))
        write_whole(out / "report.csv", to_csv(reports))
        write_whole(out / "report.md", to_markdown(reports))
    if json:
        print_json([r.to_json() for r in reports])
    else:
        typer.echo(to_markdown(reports))
        typer.echo(f"traces and reports in {out}")


@app.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a finished evaluation, or of a run in it.")],
    b: Annotated[Path, typer.Argument(help="Folder of another, of the same questions.")],
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    json: AsJson = False,
) -> None:
    """Compare two evaluations task by task: difference, interval, paired test.

    Of an ablation the run with the chosen tools is taken; any other run is named by its folder,
    such as `runs/weak/none`.
    """
    from .compare import compare as run
    from .compare import to_markdown
    from .results import plain_run

    found = run(plain_run(a), plain_run(b), seed=seed)
    if json:
        print_json(found.to_json())
    else:
        typer.echo(to_markdown(found))


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished evaluation.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The log file.")] = None,
    pictures: Annotated[
        bool, typer.Option(help="Put pictures into it, made smaller; else name them.")
    ] = True,
) -> None:
    """Write an evaluation as a log of Inspect, for its viewer and analysis tools."""
    from .bridges.inspect_log import write_inspect_log
    from .results import plain_run

    plain = plain_run(folder)
    typer.echo(str(write_inspect_log(plain, out or plain / "inspect.json", pictures=pictures)))
