"""One folder, one evaluation at a time: two writers would tear each other's lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtool.errors import DataError

NAME = ".lock"


@contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however that ends.

    Args:
        folder: Of an evaluation; None where nothing is kept. Where the system knows no such
            locks, nobody is kept out.

    Raises:
        DataError: Another evaluation holds it.
    """
    try:
        import fcntl
    except ImportError:  # no POSIX system
        folder = None
    if folder is None:
        yield
        return
    with (folder / NAME).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise DataError(
                f"another evaluation is under way in {folder}; wait for it, or choose another "
                "folder"
            ) from err
        yield
