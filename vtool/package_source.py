"""Where a published package comes from: the npm registry or a Debian mirror, as users set them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vtool.download import Deadline, FetchError, Progress, download

NPM_DEFAULT = "https://registry.npmjs.org"
"""npm's own default, where neither the environment nor npm says otherwise."""


class Source(Protocol):
    """Brings a package's archive."""

    @property
    def label(self) -> str:
        """What it is called, for people."""
        ...

    @property
    def by_hand(self) -> str:
        """How somebody gets the archive without us."""
        ...

    def bring(
        self, path: Path, size: int, deadline: Deadline, progress: Progress | None = None
    ) -> None:
        """Write the archive, or go on with what is there of it.

        Raises:
            FetchError: It cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of the npm registry that the user has configured."""

    name: str
    version: str

    @property
    def label(self) -> str:
        """As npm writes it."""
        return f"npm {self.name}@{self.version}"

    @property
    def by_hand(self) -> str:
        """The line that npm knows."""
        return f"npm pack {self.name}@{self.version}"

    def bring(
        self, path: Path, size: int, deadline: Deadline, progress: Progress | None = None
    ) -> None:
        """Download the tarball.

        Raises:
            FetchError: It cannot be had.
        """
        base = self.name.rpartition("/")[2]
        address = f"{npm_registry()}/{self.name}/-/{base}-{self.version}.tgz"
        download(address, path, size=size, deadline=deadline, progress=progress)


def npm_registry() -> str:
    """The user's registry: of the environment, else of npm's configuration, else npm's default."""
    for key in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(key):
            return os.environ[key].rstrip("/")
    npm = shutil.which("npm")
    if npm is not None:
        try:
            done = _run([npm, "config", "get", "registry"], 20.0)
        except FetchError:
            return NPM_DEFAULT
        told = done.stdout.strip()
        if done.returncode == 0 and told.startswith(("http://", "https://")):
            return told.rstrip("/")
    return NPM_DEFAULT


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package of the Debian mirror that the user's apt is set to; nothing is installed."""

    name: str
    version: str
    release: str
    """The Debian release that has this version."""

    @property
    def label(self) -> str:
        """As apt writes it."""
        return f"Debian {self.name}={self.version}"

    @property
    def by_hand(self) -> str:
        """The line that apt knows."""
        return f"apt-get download {self.name}={self.version} (of Debian {self.release})"

    def bring(
        self, path: Path, size: int, deadline: Deadline, progress: Progress | None = None
    ) -> None:
        """Let apt download the package; where apt has no lists yet, with lists of our own.

        Raises:
            FetchError: No apt here, or it has no such package.
        """
        apt = shutil.which("apt-get")
        if apt is None:
            raise FetchError(f"{self.label} needs apt-get, which is not here")
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            if not self._downloaded(apt, Path(folder), (), deadline):
                lists = Path(folder, "lists")
                (lists / "partial").mkdir(parents=True)
                own = ("-o", f"Dir::State::lists={lists}")
                _run([apt, *own, "-q", "update"], deadline.left())
                if not self._downloaded(apt, Path(folder), own, deadline):
                    raise FetchError(f"apt-get has no {self.name}={self.version}")
            next(Path(folder).glob("*.deb")).replace(path)
        if path.stat().st_size != size:
            raise FetchError(f"{self.label} has {path.stat().st_size} bytes, expected {size}")

    def _downloaded(
        self, apt: str, folder: Path, options: Sequence[str], deadline: Deadline
    ) -> bool:
        wanted = f"{self.name}={self.version}"
        done = _run([apt, *options, "-q", "download", wanted], deadline.left(), folder)
        return done.returncode == 0 and any(folder.glob("*.deb"))


def _run(
    command: list[str], seconds: float, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a package client.

    Raises:
        FetchError: It cannot be started, or takes longer than it may.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            timeout=seconds,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise FetchError(f"{Path(command[0]).name} did not answer: {err}") from err
