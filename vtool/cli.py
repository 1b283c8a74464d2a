"""The `vtool` command: finds its subcommands by entry point and turns errors into exit codes.

Exit codes: 0 done, 1 it failed, 2 wrong usage or bad input, 130 interrupted. A subcommand is a
typed function (or a typer app for a group), published in the group ``vtool.commands``; listing
the commands loads no torch, and one command's missing library never hurts another.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vtool.errors import (
    DataError,
    GeometryError,
    MediaError,
    RecipeError,
    StoreError,
    TraceError,
    UnknownName,
    VToolError,
)

BAD_INPUT = (DataError, GeometryError, MediaError, RecipeError, StoreError, TraceError, UnknownName)
"""Errors that say that what the user gave is wrong (exit code 2 instead of 1)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        arguments: Words after ``vtool``; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _root().main(words, prog_name="vtool")
    except VToolError as err:
        if "--debug" in words:
            raise
        print(f"vtool: {err}", file=sys.stderr)
        raise SystemExit(2 if isinstance(err, BAD_INPUT) else 1) from None
    except OSError as err:
        # A folder that cannot be written, a full disk: the sentence is enough.
        if "--debug" in words:
            raise
        print(f"vtool: {err.strerror or err}: {err.filename or ''}".rstrip(": "), file=sys.stderr)
        raise SystemExit(1) from None


class Commands(TyperGroup):
    """Subcommands by entry point; each is loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all published commands."""
        return sorted(_points())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command; None for an unknown name."""
        point = _points().get(cmd_name)
        return None if point is None else _as_command(cmd_name, point.load())

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or name the nearest."""
        if args and args[0] not in _points() and not args[0].startswith("-"):
            raise UnknownName("command", args[0], _points())
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """A plain table: name and first sentence."""
        print("Usage: vtool [--debug] [--import FILE]... COMMAND ...\n")
        print("Train, run and measure vision-language agents that think with images.\n")
        for name in self.list_commands(ctx):
            print(f"  {name:<8} {self._summary(ctx, name)}")
        print("\n`vtool COMMAND --help` says more. `vtool --import my_tools.py COMMAND` brings")
        print("what that file registers: tools, rewards, benchmarks of yours.")

    def _summary(self, ctx: Any, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except (ImportError, AttributeError) as err:
            return f"(cannot be loaded: {err})"
        return " ".join((command.help or "").strip().split("\n\n")[0].split())

    def invoke(self, ctx: Any) -> Any:
        """Run; ctrl-C gives 130 whatever the version of typer."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("vtool: interrupted", file=sys.stderr)
            raise SystemExit(130) from None


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    own: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="FILE", help="Code of yours; may be said again."),
    ] = None,
) -> None:
    """Train, run and measure vision-language agents that think with images."""
    if own:
        from vtool.own_code import import_own

        import_own(own)


def _root() -> Any:
    app = typer.Typer(
        cls=Commands,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    return typer.main.get_command(app)


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="vtool.commands")}


def _as_command(name: str, thing: Any) -> Any:
    """A typer app as it is; a function as an app of one command."""
    options: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}
    if isinstance(thing, typer.Typer):
        group = typer.main.get_command(thing)
        group.name = name
        return group
    app = typer.Typer(pretty_exceptions_enable=False, **options)
    app.command(name)(thing)
    return typer.main.get_command(app)


if __name__ == "__main__":
    main()
