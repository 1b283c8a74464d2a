"""The boundary: namespaces, an empty root with an interpreter in it, and nothing of the host.

Made by bubblewrap. Whether it can be made here is found out by making it once; where it cannot,
there is no tool, rather than a weaker one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from vtool.needs import Lack, LackKind

from .limits import Limits, bounds, disk_bytes

PACKAGES = (
    "numpy",
    "pillow",
    "matplotlib",
    "opencv-python-headless",
    "opencv-python",
)
"""Distributions that the guest sees, with what they need, where they are installed."""
RUNNER = Path(__file__).with_name("cell_runner.py")
GUEST_USER = 65534

_SITE, _HOME, _PREFIX = "/site", "/tmp", "/python"
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_INSTALL = "make system-deps (or: apt-get install bubblewrap)"
_ALLOW = "allow unprivileged user namespaces for bwrap, or run where they are allowed"


@dataclass(frozen=True, slots=True)
class Rootfs:
    """What is there inside: sources on the host and where the guest finds them, read-only."""

    mounts: tuple[tuple[str, str], ...]
    inside: tuple[tuple[str, str], ...]
    """Words of a command on the host, and the same words inside."""
    masked: tuple[str, ...]
    """Folders inside whose content is hidden."""


class Boundary:
    """The need of a tool whose programs run inside."""

    def lack(self, settings: object) -> Lack | None:
        """What keeps the boundary from being made here, found out once a process."""
        if find_bwrap() is None:
            return Lack(LackKind.PROGRAM, "bubblewrap", _INSTALL)
        if reason := refused():
            return Lack(LackKind.PROGRAM, f"a boundary by bubblewrap: {reason}", _ALLOW)
        return None


def find_bwrap() -> str | None:
    """Path of bubblewrap: on the path, or beside the interpreter (as PyPI installs it)."""
    beside = Path(sys.executable).with_name("bwrap")
    return shutil.which("bwrap") or (str(beside) if beside.exists() else None)


@lru_cache(maxsize=1)
def refused() -> str:
    """Why no boundary can be made here, or the empty string; one trial run."""
    if sys.platform != "linux":
        return "it needs Linux"
    said = "print('inside', end='')"
    command = wrap([interpreter(), *FLAGS, "-c", said], rootfs(()), Limits())
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return type(err).__name__
    if done.stdout != "inside":
        return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1][:200]
    if not bounds().processes:
        return "root's processes cannot be counted without a control group"
    return ""


FLAGS = ("-s", "-S", "-P", "-B", "-X", "utf8")
"""The interpreter looks for nothing in user or working folders, and writes no bytecode."""


def interpreter() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def wrap(command: Sequence[str], root: Rootfs, limits: Limits) -> list[str]:
    """A command of the host, to be run inside.

    Args:
        command: As one would run it here.
        root: What is there inside.
        limits: For the size of the writable folder.
    """
    inside = dict(root.inside)
    binds = [word for mount in root.mounts for word in ("--ro-bind", *mount)]
    masks = [w for path in root.masked for w in ("--tmpfs", path, "--remount-ro", path)]
    return [
        find_bwrap() or "bwrap",
        *isolation(),
        *environment(),
        *binds,
        *masks,
        *devices(),
        *writable(disk_bytes(limits)),
        *("--chdir", _HOME, "--remount-ro", "/", "--"),
        *(inside.get(word, word) for word in command),
    ]


def isolation() -> tuple[str, ...]:
    """Every namespace of its own, none to be made inside, no rights, no way to outlive us."""
    user = str(GUEST_USER)
    return (
        "--unshare-all",
        "--unshare-user",  # said again: of the one above it may be left out
        "--disable-userns",
        *("--uid", user, "--gid", user, "--hostname", "cell"),
        *("--cap-drop", "ALL"),
        "--die-with-parent",
        "--new-session",
    )


def environment() -> tuple[str, ...]:
    """Nothing of ours; fixed values, so that equal cells give equal results."""
    values = {
        "HOME": _HOME,
        "PATH": f"{_PREFIX}/bin",
        "LD_LIBRARY_PATH": f"{_PREFIX}/lib",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLCONFIGDIR": f"{_HOME}/matplotlib",
        "MPLBACKEND": "module://cell_figures",
    }
    return ("--clearenv", *(w for k, v in values.items() for w in ("--setenv", k, v)))


def devices() -> tuple[str, ...]:
    """The five that give or take nothing but bytes; no terminal, no shared memory."""
    names = ("null", "zero", "full", "random", "urandom")
    binds = (w for n in names for w in ("--dev-bind", f"/dev/{n}", f"/dev/{n}"))
    return ("--tmpfs", "/dev", *binds, "--remount-ro", "/dev")


def writable(size: int) -> tuple[str, ...]:
    """The one folder that can be written, of so many bytes; 0 for no bound."""
    return (*(("--size", str(size)) if size else ()), "--tmpfs", _HOME)


@lru_cache(maxsize=8)
def rootfs(packages: tuple[str, ...] = PACKAGES) -> Rootfs:
    """Interpreter, standard library, its shared libraries, and packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    stdlib = sysconfig.get_path("stdlib")
    library = f"{_PREFIX}/{sys.platlibdir}/{version}"
    program = f"{_PREFIX}/bin/{version}"
    runner = "/runner/cell_runner.py"
    mounts = [
        *((folder, folder) for folder in _system_libraries()),
        *((loader, loader) for loader in _loaders()),
        (interpreter(), program),
        (stdlib, library),
        *_shared_interpreter(),
        (str(RUNNER), runner),
        *((str(path), f"{_SITE}/{path.name}") for path in _installed(packages)),
    ]
    masked = [
        f"{library}/{name}"
        for name in ("site-packages", "dist-packages")
        if Path(stdlib, name).is_dir()
    ]
    inside = ((interpreter(), program), (str(RUNNER), runner), (site_folder(), _SITE))
    return Rootfs(tuple(mounts), inside, tuple(masked))


def site_folder() -> str:
    """The word by which a command names the packages' folder."""
    import numpy

    return str(Path(numpy.__file__).parents[1])


def _loaded() -> set[str]:
    """Shared libraries that this process has loaded."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        files = {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    return {f for f in files if f.startswith("/")}


def _system_libraries() -> list[str]:
    """Folders of the system from which this process has loaded shared libraries."""
    found = {os.path.dirname(os.path.realpath(f)) for f in _loaded()}
    tops = tuple(os.path.realpath(s) for s in _SYSTEM if os.path.isdir(s))
    # Modules of Python and of packages come with these; only the system's own are wanted here.
    return sorted(
        f
        for f in found
        if f in tops or (f.startswith(tuple(t + "/" for t in tops)) and "python" not in f)
    )


def _loaders() -> list[str]:
    """The dynamic loader, at the path that is written into every program."""
    found = [p for folder in ("/lib64", "/lib") for p in Path(folder).glob("ld-*.so*")]
    return [str(p) for p in found if p.is_file()]


def _shared_interpreter() -> list[tuple[str, str]]:
    """The interpreter's shared library, where it has one outside the system's folders."""
    found = [f for f in _loaded() if os.path.basename(f).startswith("libpython")]
    own = [f for f in found if not f.startswith(tuple(s + "/" for s in _SYSTEM))]
    return [(f, f"{_PREFIX}/lib/{os.path.basename(f)}") for f in own]


def _installed(packages: Sequence[str]) -> list[Path]:
    """Top-level files and folders of distributions and of what they need."""
    todo, done, found = list(packages), set[str](), dict[str, Path]()
    while todo:
        name = todo.pop(0)
        if name in done:
            continue
        done.add(name)
        try:
            dist = distribution(name)
        except PackageNotFoundError:
            continue
        todo += [_bare(r) for r in dist.requires or () if "extra ==" not in r]
        for file in dist.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not top.endswith((".dist-info", ".pth")):
                found.setdefault(top, Path(str(dist.locate_file(top))))
    return [path for path in found.values() if path.exists()]


def _bare(requirement: str) -> str:
    """Distribution name of a requirement."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end]
