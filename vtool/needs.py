"""What a tool needs before it can run: libraries, programs, weights. Asking loads none of them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from vtool.errors import install_line


class LackKind(StrEnum):
    """What sort of thing is missing."""

    EXTRA = "extra"
    WEIGHTS = "weights"
    PROGRAM = "program"
    SETTING = "setting"
    """Something that people must choose, such as a folder."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing, and how to get it."""

    kind: LackKind
    what: str
    fix: str


class Need(Protocol):
    """One condition of a tool."""

    def lack(self, settings: object) -> Lack | None:
        """What is missing under these settings, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Package:
    """An importable library.

    Args:
        module: Its top-level module.
        extra: The extra of this distribution that brings it.
    """

    module: str
    extra: str

    def lack(self, settings: object) -> Lack | None:
        """Missing where nothing of that name can be imported."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return Lack(LackKind.EXTRA, self.module, install_line(self.extra))


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the operating system.

    Args:
        name: Name of the executable.
        fix: How to install it.
    """

    name: str
    fix: str

    def lack(self, settings: object) -> Lack | None:
        """Missing where no such executable is on the path."""
        if shutil.which(self.name) is not None:
            return None
        return Lack(LackKind.PROGRAM, self.name, self.fix)


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint that people name in the tool's settings.

    Args:
        setting: The setting that holds a hub name or a local folder.
        example: A name that would do.
        command: The tool's name, for the line that mends it.
    """

    setting: str
    example: str
    command: str

    def lack(self, settings: object) -> Lack | None:
        """Missing where the setting is empty, or names a local path that is not there."""
        given = getattr(settings, self.setting, None)
        if given and not _absent_path(str(given)):
            return None
        what = f"{self.setting}: {given} is not there" if given else f"{self.setting} is not set"
        fix = f"set {self.setting} to a local folder or a hub name: {self.command}.{self.setting}"
        return Lack(LackKind.WEIGHTS, what, f"{fix}={self.example}")


@dataclass(frozen=True, slots=True)
class Present:
    """A condition of another kind, such as a kernel boundary or fetched weights.

    Args:
        kind: What sort of thing it is.
        what: Its name.
        fix: How to get it.
        check: Whether it is there; cheap, and called at listing.
    """

    kind: LackKind
    what: str
    fix: str
    check: Callable[[], bool]

    def lack(self, settings: object) -> Lack | None:
        """Missing where the check says so."""
        return None if self.check() else Lack(self.kind, self.what, self.fix)


def _absent_path(given: str) -> bool:
    """Whether this is written like a path and nothing is there; hub names have one slash."""
    looks_local = given.startswith((".", "/", "~")) or given.count("/") > 1
    return looks_local and not Path(given).expanduser().exists()
