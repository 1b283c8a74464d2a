"""Commands of this wing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtool.commands.output import AsJson, print_json, print_table
from vtool.errors import RecipeError

if TYPE_CHECKING:
    from .recipe import Recipe


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml of yours.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; runs/NAME by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load everything, try one step, keep nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint of the folder.")
    ] = True,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", help="A key of the recipe that may differ when resuming."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Train a policy: by reinforcement, from a teacher's episodes, or both in stages.

    A run that was stopped goes on where its last checkpoint stands.
    """
    from .recipe import load_recipe

    chosen = load_recipe(recipe, overrides or [])
    if dry_run:
        if chosen.kind != "rl" or chosen.stages:
            raise RecipeError(
                f"--dry-run is for one run of kind rl; {recipe} is "
                + (f"{len(chosen.stages)} stages" if chosen.stages else f"of kind {chosen.kind}")
            )
        from .dry_run import dry_run as try_out

        _print_dry_run(try_out(chosen), json)
        return
    folder = out or Path("runs") / chosen.name
    raise typer.Exit(_train(chosen, folder, resume=resume, force=force or [], json=json))


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show one recipe with all its keys.")] = None,
    json: AsJson = False,
) -> None:
    """What can be trained by name: source, components, how sure they are, what is missing."""
    from vtool.config import to_plain

    from .recipe import load_recipe, recipe_names
    from .recipe_about import row_of

    if name is not None:
        chosen = load_recipe(name)
        print_json({**row_of(name, chosen), "recipe": to_plain(chosen)})
        return
    rows = [row_of(known, load_recipe(known)) for known in recipe_names()]
    if json:
        print_json(rows)
        return
    print_table(
        ("recipe", "what", "made of", "known from", "missing"),
        [
            (
                r["name"],
                r["title"],
                "; ".join(r["components"]),
                r["certainty"],
                "; ".join(r["missing"]),
            )
            for r in rows
        ],
    )


def _train(recipe: Recipe, folder: Path, *, resume: bool, force: list[str], json: bool) -> int:
    from rich.console import Console

    from .live_table import LiveTable
    from .train import train as run

    console = Console(stderr=json)
    with LiveTable(console, None if recipe.stages else recipe.steps) as table:
        result = run(
            recipe,
            folder,
            resume=resume,
            force=force,
            on_step=table.update,
            tell=table.say,
            on_stage=table.begin,
        )
    if json:
        print_json(
            {
                "out": str(result.out),
                "model": str(result.model) if result.model else None,
                "steps": result.steps,
                "finished": result.finished,
                "seconds": round(result.seconds, 1),
                "metrics": dict(result.metrics),
            }
        )
    elif result.finished:
        console.print(f"done: {result.model or result.out}", markup=False, soft_wrap=True)
    else:
        console.print(
            f"saved after {table.where(result.steps)}; the same command goes on from there",
            markup=False,
            soft_wrap=True,
        )
    return result.exit_code


def _print_dry_run(found: dict[str, object], json: bool) -> None:
    if json:
        print_json(found)
        return
    import yaml

    typer.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100))
