"""The tools on offer where nobody chose: those that a checkpoint was trained with."""

from __future__ import annotations

import typer


def ready_tools_of(model: str, *, video: bool = False) -> list[str]:
    """Names of a checkpoint's own tools, but for those that cannot run here, which are told.

    Args:
        model: A folder, a shipped policy, or owner/name.
        video: Whether a video is asked about: then one that names no tools may look into it.

    Raises:
        CheckpointError: There is no such checkpoint.
        ToolUnavailable: None of its tools can run here.
    """
    from vtool.loading import tools_of
    from vtool.toolbox import Toolbox, ToolUnavailable

    ready: list[str] = []
    lacking: list[ToolUnavailable] = []
    for name in tools_of(model) or (("resample",) if video else ("zoom",)):
        try:
            Toolbox([name])
            ready.append(name)
        except ToolUnavailable as err:
            lacking.append(err)
    if not ready:
        raise lacking[0]
    for lack in lacking:
        typer.echo(f"vtool: not on offer, {lack}", err=True)
    return ready
