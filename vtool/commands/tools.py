"""`vtool tools`: which tools there are, and one tool as the model sees it. Loads no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from vtool.commands.output import AsJson, print_json, print_table
from vtool.geometry import Convention, Units
from vtool.tool import tools as registry

Name = Annotated[str | None, typer.Argument(help="A tool; without it all are listed.")]
UnitsOption = Annotated[Units, typer.Option("--units", help="How the model writes coordinates.")]


def tools(name: Name = None, units: UnitsOption = Units.THOUSAND, json: AsJson = False) -> None:
    """List the tools, or show the schema that a model is given for one of them."""
    coordinates = Convention(units)
    if name is not None:
        print_json(registry.get(name).spec.schema(coordinates))
        return
    specs = [registry.get(n).spec for n in registry]
    if json:
        print_json([spec.schema(coordinates) for spec in specs])
        return
    print_table(
        ("tool", "arguments", "what it does"),
        [(s.name, ", ".join(p.name for p in s.params), s.description) for s in specs],
    )
