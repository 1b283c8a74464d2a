"""`vtool mcp`: the toolbox for any MCP client, over standard input and output or over HTTP."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import typer

from vtool.errors import RecipeError, require
from vtool.geometry import Units
from vtool.tool import tools as registry

_OPTIONS = {
    "root": typer.Option("--root", help="Folder whose pictures may be opened; may be said again."),
    "token": typer.Option("--token", envvar="VTOOL_MCP_TOKEN", help="Of HTTP; made if left out."),
    "hosts": typer.Option("--allow-host", help="Another name of this server; may be said again."),
}


def mcp(
    tools: Annotated[
        str | None, typer.Option(help="Tools on offer, such as a,b; all that can run here.")
    ] = None,
    root: Annotated[list[Path] | None, _OPTIONS["root"]] = None,
    units: Annotated[Units, typer.Option(help="How coordinates are written.")] = Units.ORIGINAL,
    http: Annotated[bool, typer.Option("--http", help="Serve over HTTP, not over stdio.")] = False,
    host: Annotated[str, typer.Option(help="Address to bind (HTTP).")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port (HTTP); 0 for any free one.")] = 8765,
    token: Annotated[str | None, _OPTIONS["token"]] = None,
    allow_host: Annotated[list[str] | None, _OPTIONS["hosts"]] = None,
) -> None:
    """Serve the tools over the Model Context Protocol.

    Clients start it themselves over stdio: `vtool mcp --root PICTURES`. Over HTTP every request
    needs the bearer token, which is printed.
    """
    require("mcp", "mcp")
    from vtool.mcp_http import serve_http
    from vtool.mcp_server import ServerOptions, serve_stdio
    from vtool.toolbox import Toolbox

    roots = tuple(root or ())
    for folder in roots:
        if not folder.is_dir():
            raise RecipeError(f"--root needs a folder, got {folder}")
    options = ServerOptions(roots=roots, units=units)
    toolbox = Toolbox(chosen_names(tools), forgiving=True)
    if not roots:
        typer.echo("vtool mcp: no --root, so no picture can be opened", err=True)
    if not http:
        asyncio.run(serve_stdio(toolbox, options))
        return
    secret = secrets.token_urlsafe(32) if token is None else token
    if token is None:
        typer.echo(f"token {secret}", err=True)
    asyncio.run(
        serve_http(
            toolbox,
            options,
            host=host,
            port=port,
            token=secret,
            hosts=allow_host or (),
            told=lambda url: typer.echo(url, err=True),
        )
    )


def chosen_names(tools: str | None) -> list[str]:
    """Names that were asked for; else those of all tools that lack nothing here."""
    if tools is not None:
        return [name.strip() for name in tools.split(",") if name.strip()]
    return [name for name in registry if not registry.get(name).lacks()]
