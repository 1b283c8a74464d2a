"""Commands of this wing: `vtool train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtool.commands.output import AsJson, print_json
from vtool.config import override, to_plain
from vtool.errors import RecipeError, require
from vtool.loading import quiet_library

WARMSTART = "tiny-warmstart"
"""The one thing that is trained without a recipe: the shipped tiny policies, from nothing."""


def train(
    recipe: Annotated[
        str, typer.Argument(help="A shipped recipe, a YAML file, or tiny-warmstart.")
    ],
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run: runs/NAME.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Resolve, play one group, estimate; train nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on with what the folder holds.")
    ] = True,
    force: Annotated[
        list[str] | None, typer.Option(help="A key that may differ from the run's beginning.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Train a policy as a recipe says; a run that was stopped is gone on with.

    `vtool train tiny-warmstart` makes the shipped tiny policies from nothing instead
    (keys: seed, minutes).
    """
    for module in ("torch", "transformers", "accelerate", "safetensors"):
        require(module, "train")
    quiet_library()
    if recipe == WARMSTART:
        _warmstart(pairs or [], out or Path("runs/tiny-warmstart"), json)
        return
    from .recipe import load_recipe

    resolved = load_recipe(recipe, pairs or [])
    if dry_run:
        _dry_run(resolved, json)
        return
    folder = out or Path("runs") / resolved.name
    _train(resolved, folder, resume, tuple(force or ()), json)


def _train(
    resolved: object, folder: Path, resume: bool, force: tuple[str, ...], json: bool
) -> None:
    from rich.console import Console

    from .live_table import LiveTable
    from .recipe import Recipe
    from .train import train as run

    assert isinstance(resolved, Recipe)
    # With --json standard output belongs to the result alone.
    with LiveTable(Console(stderr=json), resolved.steps) as live:
        result = run(
            resolved, folder, resume=resume, force=force, on_step=live.update, tell=live.say
        )
    if json:
        print_json(to_plain(result))
    elif result.model is not None:
        typer.echo(f"{result.steps} steps in {result.seconds:.0f} s; the model is {result.model}")
    else:
        typer.echo(f"stopped after step {result.steps}; the same command goes on from there")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _dry_run(resolved: object, json: bool) -> None:
    import yaml

    from .dry_run import estimate
    from .recipe import Recipe

    assert isinstance(resolved, Recipe)
    found = estimate(resolved)
    if json:
        print_json({"recipe": to_plain(resolved), "estimate": found})
        return
    typer.echo(yaml.safe_dump(to_plain(resolved), sort_keys=False))
    for name, value in found.items():
        typer.echo(f"# {name}: {value}")


def _warmstart(pairs: list[str], out: Path, json: bool) -> None:
    from .tiny.warmstart import build

    options = override({}, pairs)
    if strange := sorted(set(options) - {"seed", "minutes"}):
        raise RecipeError(f"{WARMSTART} has no key {strange[0]!r}; it has seed and minutes")
    log = (lambda entry: None) if json else (lambda entry: typer.echo(_told(entry)))
    report = build(out, log=log, **options)
    if json:
        print_json(report)
    else:
        typer.echo(f"two policies in {out}: {out / 'clean'} and {out / 'weak'}")


def _told(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    return " ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in entry.items()
    )
