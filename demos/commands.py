"""Commands of this wing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

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

    folder = find_trace(trace).resolve()  # "." has no name
    path = out or folder.parent / f"{folder.name}.html"
    write_page(page_of_trace(folder, limit=limit), path)
    typer.echo(str(path))


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A further checkpoint: a folder or owner/name. May be given again."),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Runs, traces and reports to look at lie here.")
    ] = Path("runs"),
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 7860,
    host: Annotated[str, typer.Option(help="Loopback unless told otherwise.")] = "127.0.0.1",
    password: Annotated[
        str | None, typer.Option(help="Asked for; the name is vtool.", envvar="VTOOL_PASSWORD")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A host name under which browsers ask for it.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Questions answered at once.", min=1)] = 8,
    waiting: Annotated[int, typer.Option(help="Questions that may wait.", min=1)] = 64,
    upload: Annotated[int, typer.Option(help="Largest file, in megabytes.", min=1)] = 25,
) -> None:
    """Open the studio: ask about pictures and videos, watch every step, take the pen."""
    from vtool.errors import require

    # Where Gradio puts what visitors bring; it reads this when it is imported.
    with tempfile.TemporaryDirectory(prefix="vtool-uploads-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        require("gradio", "demo")
        _serve(
            models=tuple(model or ()),
            runs=runs,
            port=port,
            host=host,
            password=password,
            hosts=tuple(name or ()),
            at_once=at_once,
            max_waiting=waiting,
            max_upload_mb=upload,
        )


def _serve(**chosen: Any) -> None:
    from .studio.app import serve
    from .studio.options import Options

    serve(Options(**chosen), tell=typer.echo)
