"""Commands of this wing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    trace: Annotated[Path, typer.Argument(help="A trace, or the folder of a run that holds one.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; beside the trace by default.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many episodes.", min=1)] = 200,
) -> None:
    """Lay a trace out as one page: steps, pictures with boxes, reward parts."""
    from .view import find_trace, page_of_trace, write_page

    folder = find_trace(trace)
    path = out or folder.parent / f"{folder.name}.html"
    write_page(page_of_trace(folder, limit=limit), path)
    typer.echo(str(path))
