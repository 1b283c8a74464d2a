"""Commands of this wing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from vtool.commands.output import AsJson, print_json

from .controls import controls


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
    model: Annotated[str, typer.Option(help="A folder, tiny/clean, or owner/name.")] = "tiny/clean",
    k: Annotated[int, typer.Option("-k", "--attempts", min=1, help="Attempts a task.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    tools: Annotated[
        str | None,
        typer.Option(help="Tools on offer, by name, with commas; the benchmark's, or zoom."),
    ] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="Also run this control; may be said several times.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N tasks.")] = None,
    out: Annotated[Path, typer.Option(help="Trace and reports; resumed if there.")] = Path(
        "runs/eval"
    ),
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns of an episode.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a context.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes at once.")] = 64,
    json: AsJson = False,
) -> None:
    """Measure a policy on a task file or a benchmark: accuracy with intervals, tool use, controls.

    A folder that holds part of the same evaluation is gone on with.
    """
    from vtool.environment import Limits
    from vtool.loading import load_policy
    from vtool.record import Sampling
    from vtool.toolbox import Toolbox

    from .benchmarks.entry import open_tasks
    from .benchmarks.table import write_table
    from .report import to_markdown
    from .run import Settings
    from .run import evaluate as run

    for name in control or ():
        controls.get(name)
    opened = open_tasks(tasks, root, split, as_published=published)
    chosen = opened.tasks[:limit]
    offered = opened.tools if tools is None else tools.split(",")
    toolbox = Toolbox([t.strip() for t in offered if t.strip()])
    policy = load_policy(model)
    reports = []
    for name in (None, *(control or ())):
        settings = Settings(
            name=opened.name,
            metric=opened.metric,
            k=k,
            sampling=Sampling(temperature=temperature),
            limits=Limits(max_turns=max_turns, max_tokens=max_tokens, seconds=3600.0),
            control=name,
            seed=seed,
            policy=str(policy.folder),
            weights=policy.digest,
        )
        job = run(
            chosen,
            renderer=policy.renderer,
            engine=policy.engine,
            toolbox=toolbox,
            settings=settings,
            out=out / (name or "main"),
            concurrency=concurrency,
        )
        reports.append(asyncio.run(job))
        write_table(opened, chosen, out / (name or "main"))
    asyncio.run(toolbox.close())
    if json:
        print_json([r.to_json() for r in reports])
    else:
        typer.echo(to_markdown(reports))
        typer.echo(f"traces and reports in {out}")
