"""How much a guest may use: numbers, and the control group that holds it to some of them.

Rlimits hold everywhere, but one of them counts memory by process, and the one that counts
processes does not bind root. A control group bounds both for the whole guest, where this user may
make one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
_ROOT = Path("/sys/fs/cgroup")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one guest. Zero means no bound."""

    seconds: float = 20.0
    """Wall time of one cell."""
    cpu_seconds: int = 20
    """Processor time of one cell and process."""
    session_cpu_seconds: int = 600
    """Processor time of all cells together, by process."""
    memory_mb: int = 1024
    """Address space of a process; with a control group, memory of the whole guest."""
    disk_mb: int = 64
    """What fits into its only writable folder."""
    processes: int = 32
    """Processes and threads."""
    files: int = 128
    """Open files of a process."""
    output_mb: int = 16
    """Printed by one cell, beyond which it is ended."""
    result_mb: int = 64
    """Pictures shown by one cell, as files."""
    figures: int = 10
    """Pictures shown by one cell."""
    pixels: int = 16_000_000
    """Pixels of one picture shown."""


def memory_bytes(limits: Limits) -> int:
    """Address space of a process."""
    return limits.memory_mb * MB


def disk_bytes(limits: Limits) -> int:
    """Room in the writable folder."""
    return limits.disk_mb * MB


def process_count(limits: Limits) -> int:
    """Processes and threads of the guest."""
    return limits.processes


def cpu_seconds(limits: Limits) -> int:
    """Processor time of one cell."""
    return limits.cpu_seconds


def pixel_bound(limits: Limits) -> int:
    """Pixels of one picture shown."""
    return limits.pixels


def rlimits(limits: Limits) -> dict[str, int]:
    """What the guest binds itself to before it reads its first cell; zeros are left out."""
    wanted = {
        "AS": memory_bytes(limits),
        "FSIZE": disk_bytes(limits),
        "NPROC": process_count(limits),
        "NOFILE": limits.files,
        "CPU": limits.session_cpu_seconds,
    }
    return {name: value for name, value in wanted.items() if value} | {"CORE": 0}


class Cgroup:
    """The control group of one guest.

    Args:
        folders: By controller ("memory", "pids"): the group's folder; one and the same under
            version 2.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)

    @classmethod
    def make(cls, limits: Limits) -> Cgroup | None:
        """A new group under our own, or None where that is not allowed."""
        name = f"vtool-{os.getpid()}-{next(_numbers)}"
        made: dict[str, Path] = {}
        for controller, base in _bases().items():
            folder = base / name
            try:
                folder.mkdir(exist_ok=True)
                _bind(folder, controller, limits)
                made[controller] = folder
            except OSError:
                if folder not in made.values():
                    _remove(folder)
        return cls(made) if made else None

    @property
    def members(self) -> set[int]:
        """Processes in the group."""
        folder = self.folders.get("pids") or next(iter(self.folders.values()))
        with contextlib.suppress(OSError):
            return {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return set()

    def admit(self, pids: Iterable[int]) -> None:
        """Move processes in; their children will follow.

        Raises:
            OSError: The system refuses.
        """
        for folder in set(self.folders.values()):
            for pid in pids:
                (folder / "cgroup.procs").write_text(str(pid))

    def ran_out(self) -> bool:
        """Whether the system ended a member for want of memory."""
        folder = self.folders.get("memory")
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, AttributeError):
                lines = (folder / name).read_text().splitlines()
                return any(w.split()[0] == "oom_kill" and int(w.split()[1]) for w in lines)
        return False

    def remove(self) -> None:
        """Take it away; its members are gone by now."""
        for folder in set(self.folders.values()):
            _remove(folder)


def _bind(folder: Path, controller: str, limits: Limits) -> None:
    if controller == "pids":
        # Outer and inner bubblewrap are members too.
        count = process_count(limits)
        (folder / "pids.max").write_text(str(count + 2) if count else "max")
        return
    # What is written to the guest's folder is memory as well.
    room = memory_bytes(limits) and memory_bytes(limits) + disk_bytes(limits)
    if not room:
        return
    version2 = (folder / "memory.max").exists()
    names = ["memory.max"] if version2 else ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    (folder / names[0]).write_text(str(room))
    with contextlib.suppress(OSError):  # swap is not accounted everywhere
        if version2:
            (folder / "memory.swap.max").write_text("0")
        else:
            (folder / names[1]).write_text(str(room))


def _bases() -> dict[str, Path]:
    """Our own group's folder by controller, under either version."""
    found: dict[str, Path] = {}
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers:
            found |= {
                c: _ROOT / c / path.lstrip("/")
                for c in controllers.split(",")
                if c in ("memory", "pids")
            }
        elif (_ROOT / "cgroup.controllers").exists():
            own = _ROOT / path.lstrip("/")
            found = {"memory": own, "pids": own} | found
    return {c: folder for c, folder in found.items() if os.access(folder, os.W_OK)}


def _remove(folder: Path) -> None:
    for _ in range(50):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # its last member is not quite gone
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which bounds hold on this machine."""

    memory: bool
    """Memory of the whole guest, not only of each of its processes."""
    processes: bool
    """How many processes and threads it may have."""


def bounds() -> Bounds:
    """Try them."""
    group = Cgroup.make(Limits())
    held = set(group.folders) if group is not None else set()
    if group is not None:
        group.remove()
    # The rlimit counts by user within the guest's own namespace, and never binds root.
    return Bounds(memory="memory" in held, processes="pids" in held or os.geteuid() != 0)
