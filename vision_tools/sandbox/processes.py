"""Which processes a guest consists of, seen from outside, and ending those that do not belong."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_ROUNDS = 200
_LISTED = Path("/proc/thread-self/children")
"""Some kernels are built without these lists."""


def family_of(pid: int) -> set[int]:
    """A process and all its descendants; empty where it is gone."""
    if not Path(f"/proc/{pid}").exists():
        return set()
    found, todo = set[int](), [pid]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += children(one)
    return found


def children(pid: int) -> list[int]:
    """Children of all threads of a process."""
    if not _LISTED.exists():
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) == pid]
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    return found


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def leaf_of(family: set[int]) -> int:
    """The process at the end of the chain: the one that runs cells.

    Raises:
        OSError: The chain is broken.
    """
    leaves = [pid for pid in family if not children(pid)]
    if len(leaves) != 1:
        raise ProcessLookupError("a guest that is no chain of processes")
    return leaves[0]


def end_strays(members: Callable[[], set[int]], family: set[int]) -> bool:
    """End every member that is not of the family, until none is left.

    Returns:
        Whether none is left.
    """
    for round_ in range(_ROUNDS):
        strays = {pid for pid in members() if pid not in family and not is_gone(pid)}
        if not strays:
            return True
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005 * min(round_ + 1, 20))
    return False


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has asked how."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"
