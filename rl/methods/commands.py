"""`vtool bench`: methods against each other at equal cost, and the claims made for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vtool.commands.output import AsJson, print_json
from vtool.errors import DataError

app = typer.Typer(
    help="Play methods against each other at equal sampled tokens.", no_args_is_help=True
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")]
Tokens = Annotated[int, typer.Option(min=1, help="Sampled tokens of a trial.")]
Processes = Annotated[int, typer.Option(min=1, help="Trials at once, one thread each.")]
OUT, TOKENS = Path("runs/methods"), 80_000


@app.command()
def methods(
    grounds: Annotated[str, typer.Option(help="Grounds, by comma: shipped, or files.")] = "zoom",
    names: Annotated[
        str, typer.Option("--methods", help="Methods, by comma: shipped variants, recipes, files.")
    ] = "answer_only,zoom,gspo,otc",
    seeds: Annotated[str, typer.Option(help="By comma.")] = "0,1,2",
    tokens: Tokens = TOKENS,
    processes: Processes = 2,
    out: Out = OUT,
    json: AsJson = False,
) -> None:
    """Train every method on every ground from every seed, and measure on held-out questions.

    A method is what a recipe says of rewards, credit, loss and sampling; model, questions and
    attempts a step are the ground's. What lies in the folder already is not played again.
    Curves are drawn into the folder, but not with --json.
    """
    from .trial import trials

    wanted = trials(words(grounds, "ground"), words(names, "method"), numbers(seeds), tokens)
    _finish(play(wanted, out, processes, quiet=json), out, json)


@app.command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all if left out.")] = None,
    seeds: Annotated[str, typer.Option(help="By comma.")] = "0,1,2,3,4,5",
    tokens: Tokens = TOKENS,
    processes: Processes = 2,
    out: Out = OUT,
    json: AsJson = False,
) -> None:
    """Play both sides of claims that papers make, and say what the seeds show.

    Curves are drawn into the folder, but not with --json.
    """
    from .claims import CLAIMS
    from .trial import unknown

    known = {c.name: c for c in CLAIMS}
    for name in names or ():
        if name not in known:
            raise DataError(unknown("claim", name, list(known)))
    chosen = [known[n] for n in names or known]
    wanted = list(dict.fromkeys(t for c in chosen for t in c.trials(numbers(seeds), tokens)))
    _finish(play(wanted, out, processes, quiet=json), out, json)


@app.command()
def report(out: Out = OUT, json: AsJson = False) -> None:
    """Tables, claims and curves of what a folder holds; with --json no curves are drawn."""
    from .bench import RESULTS, read_results

    rows = read_results(out / RESULTS)
    if not rows:
        raise DataError(f"{out} holds no results; `vtool bench methods --out {out}` makes some")
    _finish(rows, out, json)


@app.command("list")
def list_names(json: AsJson = False) -> None:
    """List what ships: grounds, variants of methods (every recipe is one, too), claims."""
    from .claims import CLAIMS
    from .trial import GROUNDS, VARIANTS, first_sentence

    found = {
        "grounds": {p.stem: first_sentence(p) for p in sorted(GROUNDS.glob("*.yaml"))},
        "variants": {p.stem: first_sentence(p) for p in sorted(VARIANTS.glob("*.yaml"))},
        "claims": {c.name: f"{c.says} ({c.source}; {c.ground})" for c in CLAIMS},
    }
    if json:
        print_json(found)
        return
    for kind, names in found.items():
        typer.echo(f"{kind}:")
        for name, about in names.items():
            typer.echo(f"  {name:<32} {about}")


def play(wanted: Sequence[Any], out: Path, processes: int, *, quiet: bool) -> list[dict[str, Any]]:
    """Play, telling each trial as it ends."""
    from .bench import run

    def tell(done: int, of: int, row: dict[str, Any]) -> None:
        said = row["error"] or f"accuracy {row['held_out']['accuracy']:.3f}"
        typer.echo(f"{done:>4}/{of} {row['key']:<40} {row['seconds']:>6.1f} s  {said}")

    return run(wanted, out, processes=processes, tell=None if quiet else tell)


def words(text: str, what: str) -> list[str]:
    """Names by comma.

    Raises:
        DataError: There is none: a comparison of nothing would pass for one that went well.
    """
    found = [w.strip() for w in text.split(",") if w.strip()]
    if not found:
        raise DataError(f"expected at least one {what}, several by comma, got {text!r}")
    return found


def numbers(text: str) -> list[int]:
    """Seeds by comma.

    Raises:
        DataError: One is no whole number, or there is none.
    """
    try:
        return [int(w) for w in words(text, "seed")]
    except ValueError as err:
        raise DataError(f"expected seeds such as 0,1,2, got {text!r}") from err


def _finish(rows: Sequence[dict[str, Any]], out: Path, json: bool) -> None:
    from .bench import RESULTS, read_results
    from .curves import redraw
    from .report import by_budget, claims_json, claims_table, pairs_table, table

    if json:
        print_json({"rows": rows, "claims": claims_json(rows)})
        _check_some(rows)
        return
    budgets = by_budget(rows)
    for budget, mine in budgets.items():
        if len(budgets) > 1:
            typer.echo(f"## {budget} sampled tokens\n")
        parts = (table(mine), pairs_table(mine), claims_table(mine))
        typer.echo("\n\n".join(part for part in parts if part) + "\n")
    # Last: who lacks the library that draws has the tables.
    for path in redraw(budgets, by_budget(read_results(out / RESULTS)), out).values():
        typer.echo(f"curves: {path}")
    _check_some(rows)


def _check_some(rows: Sequence[dict[str, Any]]) -> None:
    """A comparison of which nothing could be played is a failure, not an empty table."""
    if all(r["error"] is not None for r in rows):
        raise typer.Exit(1)
