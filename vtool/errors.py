"""The vocabulary of failure: whose fault it is decides what happens next.

A `ModelFault` is the policy's: it becomes a typed observation, is counted, and the episode goes
on. Every other `VToolError` is ours or the user's: it is raised, and inside a rollout it stops
the episode as infrastructure failure, which is masked from the loss and never scored 0.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from types import ModuleType


class VToolError(Exception):
    """Root of everything that vtool raises on purpose."""


class GeometryError(VToolError, ValueError):
    """A box, point, mask or span that does not exist (NaN, inverted, empty, outside)."""

    def __init__(self, message: str, code: FaultCode | None = None) -> None:
        super().__init__(message)
        self.code = code or FaultCode.BAD_BOX


class MediaError(VToolError, ValueError):
    """A picture or clip that cannot be read, or may not be."""


class StoreError(VToolError, LookupError):
    """A handle that names nothing visible from here."""


class RecordError(VToolError, ValueError):
    """A record that contradicts itself: counts, order, authorship, digests."""

    def __init__(self, message: str, code: FaultCode | None = None) -> None:
        super().__init__(message)
        self.code = code


class TraceError(VToolError, ValueError):
    """A trace file that cannot be trusted."""


class RecipeError(VToolError, ValueError):
    """A recipe or an override that does not fit its schema."""


class DataError(VToolError, ValueError):
    """A task file that does not say what it must."""


class UnknownName(VToolError, LookupError):
    """A name that no registry holds."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}{nearest(name, names)}; known: {', '.join(names)}"
        )
        self.name = name


class MissingExtra(VToolError, ImportError):
    """An optional library that is not installed; the message holds the install line."""


class ForkRefused(VToolError, RuntimeError):
    """An environment that can neither copy nor replay its state."""


class EngineError(VToolError, RuntimeError):
    """An engine that could not produce a completion; infrastructure, not the policy."""


class CheckpointError(VToolError, RuntimeError):
    """A checkpoint that is damaged, foreign or unsafe to load."""


class FaultCode(StrEnum):
    """What a policy can do wrong, as told to it in `{"error": {"code", ...}}`."""

    BAD_JSON = "bad_json"
    UNCLOSED_CALL = "unclosed_call"
    TRUNCATED = "truncated"
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGS = "bad_args"
    TOO_LARGE = "too_large"
    AMBIGUOUS = "ambiguous"
    TOO_MANY_CALLS = "too_many_calls"
    NO_ACTION = "no_action"
    BAD_BOX = "bad_box"
    BOX_OUTSIDE = "box_outside"
    TOO_SMALL = "too_small"
    BAD_ASPECT = "bad_aspect"
    UNKNOWN_IMAGE = "unknown_image"
    BAD_IMAGE = "bad_image"
    BAD_VIDEO = "bad_video"
    TOO_MANY_IMAGES = "too_many_images"
    BAD_WINDOW = "bad_window"
    NO_ROOM = "no_room"
    TIMEOUT = "timeout"
    TOOL_ERROR = "tool_error"
    TOOL_CRASHED = "tool_crashed"
    UNAVAILABLE = "unavailable"
    LIMIT = "limit"


class ModelFault(VToolError):
    """Something the policy wrote that cannot be done.

    Args:
        code: The kind of fault.
        message: One short sentence for the model: what was expected and what came. No paths.
        hint: What to do next, if there is something to say.
        field: The argument concerned.
    """

    def __init__(
        self, code: FaultCode, message: str, *, hint: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.field = code, message, hint, field

    def to_json(self) -> str:
        """The observation text: `{"error": {"code", "message", "hint"?}}`."""
        body = {"code": str(self.code), "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        return json.dumps({"error": body}, ensure_ascii=False)


def nearest(name: str, names: Iterable[str]) -> str:
    """A suffix naming close matches, or the empty string."""
    close = difflib.get_close_matches(str(name), list(names), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""


DISTRIBUTION = "vtool-agent"
"""The name under which this package is installed."""
HOME = Path(__file__).resolve().parent.parent
"""The checkout, where this code runs from one."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say in one sentence how to get it.

    Args:
        module: Dotted module name, such as ``"torch"``.
        extra: The extra of this distribution that brings it.

    Raises:
        MissingExtra: The library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        if err.name and err.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(f"{module} is not installed: run `{install_line(extra)}`") from err


def install_line(extra: str) -> str:
    """The exact command that brings an extra: into this checkout, or for the installed package."""
    pins, project = HOME / "constraints" / "cpu.txt", HOME / "pyproject.toml"
    if not (pins.is_file() and project.is_file()):
        return package_line(extra)
    if Path.cwd().resolve() == HOME:
        return f'pip install -c constraints/cpu.txt -e ".[{extra}]"'
    return f'pip install -c "{pins}" -e "{HOME}[{extra}]"'


def package_line(extra: str) -> str:
    """The same for the package alone, wherever this code runs: what documents say."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
