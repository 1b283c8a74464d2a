"""One run, one process: `run.lock` says who holds a run folder."""

from __future__ import annotations

import datetime
import fcntl
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from vtool.errors import CheckpointError

from . import durable

NAME = "run.lock"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, so that another one with the same number is not taken for it.

    Attributes:
        host: Name of the machine.
        pid: Process id on it.
        born: When the system started the process, in its own ticks; 0 where it does not tell.
        since: When the lock was taken, for people to read.
    """

    host: str
    pid: int
    born: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def this_process() -> Owner:
    """Who we are."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Owner(platform.node(), os.getpid(), born(os.getpid()) or 0, now)


def born(pid: int) -> int | None:
    """Start of a process in ticks since boot; None if it is dead, 0 if that cannot be told."""
    if not Path("/proc/self/stat").exists():
        return 0 if _answers(pid) else None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The program's name comes in brackets and may hold anything; the fields follow the last one.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_held(owner: Owner) -> bool:
    """Whether an owner may still be at work. On another machine nobody can tell: yes."""
    if owner.host != platform.node():
        return True
    start = born(owner.pid)
    return start is not None and (0 in (start, owner.born) or start == owner.born)


class RunLock:
    """Holds a run folder; a second holder is refused and told who is first.

    Use it as a context manager, or call `acquire` and `release`. The lock of a dead process of
    this machine is taken over, with a warning.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / NAME
        self._mine: Owner | None = None

    def acquire(self) -> RunLock:
        """Take the lock.

        Raises:
            CheckpointError: Somebody holds it, or the file cannot be understood.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self.path.parent):
            owner = self._owner()
            if owner is not None and is_held(owner):
                raise CheckpointError(
                    f"{self.path.parent} is in use by {owner}. Wait for it, stop it, or use "
                    f"another folder; if that process is gone for sure, delete {self.path}"
                )
            if owner is not None:
                warnings.warn(f"took over the lock of {owner}: it is dead", stacklevel=2)
            mine = this_process()
            durable.replace_json(self.path, asdict(mine))
            self._mine = mine
        return self

    def release(self) -> None:
        """Give the lock back, if it is still ours."""
        if self._mine is None:
            return
        with one_at_a_time(self.path.parent):
            if self._owner() == self._mine:
                self.path.unlink()
        self._mine = None

    def __enter__(self) -> RunLock:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _owner(self) -> Owner | None:
        try:
            return Owner(**durable.read_object(self.path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as err:
            raise CheckpointError(
                f"{self.path} should say who holds this run and cannot be read ({err}): delete "
                "it if no run uses this folder"
            ) from err


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Look and take as one act: two processes that find a dead lock must not both get it."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
