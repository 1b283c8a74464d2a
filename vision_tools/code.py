"""The code tool: a Python session over the episode's pictures, behind a kernel boundary.

The program runs in a guest process that sees no file, no network and no environment of ours; its
prints and pictures come back over pipes and are read like everything from outside. Where no
boundary can be made the tool is not offered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from vtool.errors import FaultCode, ModelFault
from vtool.tool import Observation, Settings, Workspace, tool

from .sandbox.boundary import PACKAGES, Boundary
from .sandbox.limits import Limits
from .sandbox.notebook import Notebook
from .sandbox.pool import pool
from .sandbox.session import Kind, Result

MAX_CODE = 100_000
"""Characters of a cell."""
_MARGIN = 0.5
"""Seconds kept of a call's deadline for everything but the cell."""


@dataclass(frozen=True, slots=True)
class PythonSettings(Settings):
    """Bounds of the session, and what it is for."""

    persistent: bool = True
    """Whether variables live on until the episode ends; told in the episode's record."""
    seconds: float = 20.0
    """Wall time of one call."""
    cpu_seconds: int = 20
    """Processor time of one call."""
    memory_mb: int = 1024
    disk_mb: int = 64
    processes: int = 32
    figures: int = 10
    """Pictures that one call may show."""
    characters: int = 8000
    """Of printed text that are told; the middle is left out."""
    spare: int = 1
    """Sessions that are started before they are wanted."""
    packages: tuple[str, ...] = PACKAGES
    """Distributions that a program can import, where they are installed."""
    preload: tuple[str, ...] = ("numpy", "PIL.Image", "PIL.PngImagePlugin")
    """Modules that are loaded while a session waits."""

    @property
    def kind(self) -> Kind:
        """The guests that fit."""
        limits = Limits(
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            memory_mb=self.memory_mb,
            disk_mb=self.disk_mb,
            processes=self.processes,
            figures=self.figures,
        )
        return Kind(limits, self.packages, self.preload)


@tool(version="1", seconds=60.0, pure=False, needs=(Boundary(),))
def python(  # noqa: D417 - a model fills in the first only
    code: str,
    workspace: Workspace | None = None,
    settings: PythonSettings = PythonSettings(),
) -> Observation:
    """Run Python code over the pictures so far, and see what it prints and shows.

    Args:
        code: Python source. The pictures are PIL images in order of appearance: image_1, image_2
            and so on, all of them in the dictionary `images`. show(x) gives a PIL image, an array
            or a matplotlib figure back as a new picture. The value of a last expression is
            printed. numpy and PIL are there; there is no network.
    """
    start = time.monotonic()
    check_code(code)
    if workspace is None:
        with Notebook(settings.kind, pool()) as book:
            return observation(book.run(code, {}, seed=0), settings.characters)
    seconds = min(settings.seconds, max(0.1, workspace.seconds - _MARGIN))
    if settings.persistent:
        book = workspace.belongings.get("python", lambda: notebook(settings))
        seconds -= time.monotonic() - start
        result = book.run(code, workspace.images, seed=workspace.seed, seconds=seconds)
    else:
        with notebook(settings) as book:
            result = book.run(code, workspace.images, seed=workspace.seed, seconds=seconds)
    return observation(result, settings.characters)


def notebook(settings: PythonSettings) -> Notebook:
    """A new one under these settings."""
    return Notebook(settings.kind, pool(), settings.spare)


def check_code(code: str) -> None:
    """Refuse what no cell can be.

    Raises:
        ModelFault: `bad_args` or `too_large`.
    """
    if not code.strip():
        raise ModelFault(FaultCode.BAD_ARGS, "expected Python code, got none", field="code")
    if len(code) > MAX_CODE:
        said = f"expected at most {MAX_CODE} characters of code, got {len(code)}"
        raise ModelFault(FaultCode.TOO_LARGE, said, field="code")
    try:
        code.encode()
    except UnicodeEncodeError:
        said = "expected code in characters that can be encoded, got a lone surrogate"
        raise ModelFault(FaultCode.BAD_ARGS, said, field="code") from None


def observation(result: Result, characters: int) -> Observation:
    """What a model is told of a cell: what it printed, how it failed, what it showed."""
    said = result.printed.rstrip("\n")
    parts = [clip(said, characters), clip(result.error, characters), *result.refused]
    text = "\n".join(part for part in parts if part)
    return Observation(result.images, text or ("" if result.images else "(nothing printed)"))


def clip(text: str, characters: int) -> str:
    """The two ends of a long text, and how much is left out between them."""
    if len(text) <= characters:
        return text
    half = characters // 2
    left = len(text) - 2 * half
    return f"{text[:half]}\n[... {left} characters left out ...]\n{text[len(text) - half :]}"
