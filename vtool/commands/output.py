"""How commands speak: tables for people, JSON for programs, one shared `--json` option."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

console = Console(highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    words = json.dumps(value, indent=2, ensure_ascii=False)
    # Half characters come out as JSON spells them, where a terminal would refuse them.
    typer.echo(words.encode("utf-8", "backslashreplace").decode())


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table without frame; cells are plain text, never markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console.print(table)


def _plain(cell: object) -> str:
    return str(cell).replace("[", r"\[")
