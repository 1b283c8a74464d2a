"""Traces: episodes on disk, complete and checkable.

A trace is a folder: ``episodes.jsonl`` (one episode a line, versioned) and ``media/`` with one
file a digest. Sources are kept by content, deterministic views as steps plus digest, other
results by content. Reading verifies every digest. Forks, folds and spawns come back as they
were; so do token ids and log-probs, bit for bit.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtool.errors import TraceError
from vtool.message import Json
from vtool.record import Episode
from vtool.reward import Score
from vtool.trace_decode import decode_entries, decode_episode, decode_score
from vtool.trace_encode import collect_entries, encode_entry, encode_episode, encode_score

VERSION = 1


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One line of a trace."""

    episode: Episode
    score: Score | None = None
    meta: Mapping[str, Json] = field(default_factory=dict)
    """What the writer added: reference, tags, attempt number."""

    @property
    def task_id(self) -> str:
        """The task that was attempted."""
        return self.episode.task_id


class TraceWriter:
    """Appends episodes to a trace; each line is complete on disk before the next begins.

    Several threads may write at once: pictures side by side, lines one after the other.

    Args:
        folder: The trace; made if missing, continued if there.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        (self.folder / "media").mkdir(parents=True, exist_ok=True)
        path = self.folder / "episodes.jsonl"
        _drop_torn_line(path)
        self._lines = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self,
        episode: Episode,
        score: Score | None = None,
        meta: Mapping[str, Json] | None = None,
    ) -> None:
        """Append one episode."""
        entries, order = collect_entries(episode)
        body = {
            "version": VERSION,
            "episode": encode_episode(episode, order),
            "entries": [encode_entry(e, self.folder / "media") for e in entries],
            "score": None if score is None else encode_score(score),
            "meta": dict(meta or {}),
        }
        line = json.dumps(body, ensure_ascii=True) + "\n"
        with self._lines:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Flush to disk."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left of its last line, so that the next one stands alone."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)


def write_trace(folder: Path | str, records: Iterable[TraceRecord]) -> None:
    """Write a whole trace."""
    with TraceWriter(folder) as writer:
        for record in records:
            writer.write(record.episode, record.score, record.meta)


def read_trace(
    folder: Path | str, *, only: Callable[[str, Mapping[str, Json]], bool] | None = None
) -> Iterator[TraceRecord]:
    """Read a trace, line by line.

    A last line that was cut off (a killed writer) is left out; anything else that is off raises.

    Args:
        folder: The trace.
        only: Asked with task id and meta of each episode; those it declines are not decoded.

    Raises:
        TraceError: Not a trace, another version, or content that does not match its digest.
    """
    path = Path(folder) / "episodes.jsonl"
    if not path.is_file():
        raise TraceError(f"{folder} is no trace: it has no episodes.jsonl")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                body = json.loads(line)
                if only is None or only(str(body["episode"]["task_id"]), body["meta"]):
                    yield _read_record(body, Path(folder) / "media")
            except Exception as err:  # whatever a line makes stumble, it is the line's fault
                raise TraceError(f"{path}, line {number}: {type(err).__name__}: {err}") from err


def _read_record(body: Mapping[str, Any], media: Path) -> TraceRecord:
    if body.get("version") != VERSION:
        raise TraceError(f"trace version {body.get('version')!r}; this vtool reads {VERSION}")
    episode = decode_episode(body["episode"], decode_entries(body, media))
    score = None if body["score"] is None else decode_score(body["score"])
    return TraceRecord(episode, score, body["meta"])
