"""`vtool tools`: which tools there are and whether they can run here; one of them run by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vtool.commands.output import AsJson, print_json, print_table
from vtool.geometry import Convention, Units
from vtool.message import Json
from vtool.needs import LackKind
from vtool.tool import Tool
from vtool.tool import tools as registry

_STATES = {
    LackKind.EXTRA: "needs extra",
    LackKind.PROGRAM: "needs program",
    LackKind.WEIGHTS: "needs weights",
    LackKind.SETTING: "needs setting",
}


class _Group(TyperGroup):
    """Takes a tool's name where a subcommand could stand: `vtool tools zoom`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """What is no subcommand is a tool to be shown."""
        known = args and (args[0] in self.commands or args[0].startswith("-"))
        return super().resolve_command(ctx, args if known else ["show", *args])


app = typer.Typer(
    cls=_Group, help="List the tools, show one as a model sees it, or run one by hand."
)

UnitsOption = Annotated[Units, typer.Option("--units", help="How coordinates are written.")]
Name = Annotated[str, typer.Argument(help="A tool.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the tool.")
]


def state(tool: Tool) -> str:
    """`ready`, or the first thing that it lacks."""
    lacks = tool.lacks()
    return _STATES[lacks[0].kind] if lacks else "ready"


@app.callback(invoke_without_command=True)
def tools(
    context: typer.Context, units: UnitsOption = Units.THOUSAND, json: AsJson = False
) -> None:
    """List the tools with what each lacks here, if it lacks anything.

    Tools of your own join them: `vtool --import my_tools.py tools`.
    """
    if context.invoked_subcommand is not None:
        return
    found = [registry.get(name) for name in registry]
    if json:
        print_json([_plain(tool, units) for tool in found])
        return
    print_table(
        ("tool", "state", "arguments", "what it does"),
        [
            (t.spec.name, state(t), ", ".join(p.name for p in t.spec.params), t.spec.description)
            for t in found
        ],
    )
    for tool in found:
        for lack in tool.lacks():
            typer.echo(f"  {tool.spec.name} lacks {lack.what}: {lack.fix}")


@app.command()
def show(name: Name, units: UnitsOption = Units.THOUSAND) -> None:
    """Show the schema that a model is given."""
    print_json(registry.get(name).spec.schema(Convention(units)))


@app.command()
def run(
    name: Name,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments; masks and maps by file."),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="A picture; may be said again.")
    ] = None,
    settings: SetOption = None,
    units: UnitsOption = Units.ORIGINAL,
    out: Annotated[Path, typer.Option(help="Folder for what it makes.")] = Path("runs/tools"),
    json: AsJson = False,
) -> None:
    """Run one tool by hand: `vtool tools run zoom -i photo.jpg box=[10,10,200,200]`.

    Pictures are its picture arguments in order, unless arguments name them by number. Boxes and
    points are pixels of the picture as it lies in the file, unless `--units` says otherwise.
    A tool of your own: `vtool --import my_tools.py tools run darker -i photo.jpg box=[...]`.
    """
    from vtool.commands.run_tool import run_by_hand

    told = run_by_hand(
        name, arguments or [], pictures=image or [], settings=settings or [], units=units, out=out
    )
    if json:
        print_json(told.to_json())
        return
    for line in told.lines:
        typer.echo(line)


def _plain(tool: Tool, units: Units) -> dict[str, Json]:
    lacks: list[Json] = [{"kind": str(k.kind), "what": k.what, "fix": k.fix} for k in tool.lacks()]
    return {
        "name": tool.spec.name,
        "version": tool.spec.version,
        "state": state(tool),
        "lacks": lacks,
        **dict(tool.spec.schema(Convention(units)) or {}),  # type: ignore[arg-type]
    }
