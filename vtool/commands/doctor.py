"""`vtool doctor`: what works here, what is missing, and the exact line that mends it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from vtool.commands.output import AsJson, print_json, print_table
from vtool.doctor import State, examine

_MARK = {State.OK: "ok", State.ABSENT: "-", State.WARN: "!", State.BROKEN: "BROKEN"}


def doctor(json: AsJson = False) -> None:
    """Say what works here, what is missing, and how to get it.

    Ends with code 1 if something is broken (absent extras are no fault).
    """
    findings = examine()
    if json:
        print_json([asdict(f) for f in findings])
    else:
        rows = [(_MARK[f.state], f.name, f.detail) for f in findings]
        print_table(("", "what", "found"), rows)
        for finding in findings:
            if finding.fix:
                typer.echo(f"  {finding.name}: {finding.fix}")
    if any(f.state is State.BROKEN for f in findings):
        raise typer.Exit(1)
