"""What a run remembers between steps besides weights: buffers, waiting attempts, curricula.

Each of them writes itself into a folder of its own inside a checkpoint, as traces and JSON, and
reads itself back from there; a resumed run then goes on with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from vtool.errors import CheckpointError
from vtool.record import Episode
from vtool.reward import Score
from vtool.task import Task
from vtool.trace import TraceRecord, TraceWriter, read_trace

Lookup = Callable[[str, int], Task]
"""A task by its id, as it was asked in a step."""


class Memory(Protocol):
    """Something that a run remembers."""

    name: str
    """Of its folder."""

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder."""
        ...

    def load(self, folder: Path, lookup: Lookup) -> None:
        """Become what was saved.

        Raises:
            CheckpointError: The folder is not one of this memory's.
        """
        ...


def save_all(memories: Sequence[Memory], folder: Path) -> None:
    """Write memories side by side."""
    for memory in memories:
        own = folder / memory.name
        own.mkdir(parents=True)
        memory.save(own)


def load_all(memories: Sequence[Memory], folder: Path, lookup: Lookup) -> None:
    """Read memories back.

    Raises:
        CheckpointError: One was not saved, or cannot be read.
    """
    for memory in memories:
        own = folder / memory.name
        if not own.is_dir():
            raise CheckpointError(
                f"{folder} holds no memory {memory.name!r}, which this recipe needs: it was "
                "written by a run without it; start a new run in another folder"
            )
        try:
            memory.load(own, lookup)
        except (OSError, KeyError, TypeError, ValueError) as err:
            raise CheckpointError(f"{own} cannot be read ({type(err).__name__}: {err})") from err


def save_episodes(
    folder: Path, rows: Iterable[tuple[Episode, Score | None, dict[str, object]]]
) -> None:
    """Write episodes as a trace; there is one even where there are none."""
    with TraceWriter(folder) as writer:
        for episode, score, meta in rows:
            writer.write(episode, score, meta)  # type: ignore[arg-type]


def load_episodes(folder: Path) -> list[TraceRecord]:
    """Read a trace back, whole."""
    return list(read_trace(folder))
