"""Task files that users bring: JSON lines with pictures beside them.

One row is one question with its pictures, its accepted answers and, optionally, where the
answer can be seen::

    {"id": "q1", "images": ["street.jpg"],
     "messages": [{"role": "user", "content": "<image>What does the sign say?"}],
     "answer": ["STOP"], "evidence": [{"image": 0, "bbox": [812, 204, 868, 260]}],
     "tags": {"kind": "sign"}}

The plain form has ``"question"`` (words) in place of ``messages``, and pictures come before them.
The ShareGPT form (``conversations`` of ``from``/``value``, ``image`` for a single picture) is
read too; there the last answer of the conversation is the reference if no ``answer`` is given.
Boxes are pixels of the original picture, x1 y1 x2 y2, after its EXIF orientation. Pictures are
decoded when a task is asked for, so that a file may be larger than memory. Nothing is fetched.
Videos, and spans of seconds as answer or evidence: see `vtool.data_video`; boxes, points, options
and attributes as answer: see `vtool.data_reference`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from vtool.data_reference import read_box, wanted_reference
from vtool.data_rows import BadRow, Row, read_rows
from vtool.data_video import VideoFile, reference, video_parts
from vtool.errors import DataError, MediaError
from vtool.media import Image
from vtool.task import Evidence, Task, TaskPart


class TaskFile(Sequence[Task]):
    """Tasks of one file; pictures are decoded on demand and a few tasks are kept.

    Args:
        path: The file, for messages.
        rows: What it holds.
        keep: How many decoded tasks stay in memory.
    """

    def __init__(self, path: Path, rows: Sequence[Row], *, keep: int = 64) -> None:
        self.path, self.rows = path, tuple(rows)
        self._keep = keep
        self._recent: OrderedDict[int, Task] = OrderedDict()
        self._digests: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> TaskFile: ...
    def __getitem__(self, index: int | slice) -> Task | TaskFile:
        """One task, decoded; or a part of the file, not decoded."""
        if isinstance(index, slice):
            return TaskFile(self.path, self.rows[index], keep=self._keep)
        at = range(len(self.rows))[index]
        if at in self._recent:
            self._recent.move_to_end(at)
        else:
            task = _task(self.path, self.rows[at])
            digests = tuple(m.digest for m in task.media)
            check_unchanged(task.id, self._digests.setdefault(at, digests), digests)
            self._recent[at] = task
            if len(self._recent) > self._keep:
                self._recent.popitem(last=False)
        return self._recent[at]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all tasks, nothing decoded."""
        return tuple(row.id for row in self.rows)

    def where(self, keep: Callable[[Row], bool]) -> TaskFile:
        """The rows that pass a test, nothing decoded."""
        return TaskFile(self.path, [r for r in self.rows if keep(r)], keep=self._keep)


def load_tasks(path: str | Path, *, root: str | Path | None = None, keep: int = 64) -> TaskFile:
    """Read a task file.

    Args:
        path: A ``.jsonl`` file in the conversational or the ShareGPT form.
        root: Folder under which its pictures lie; the file's own by default.
        keep: How many decoded tasks stay in memory.

    Raises:
        DataError: A row is not what it must be; file, line, expected and got are named. Also
            for a picture path that leaves the folder and for an id that comes twice.
    """
    rows: list[Row] = []
    first: dict[str, int] = {}
    for row in read_rows(path, root=root):
        if isinstance(row, BadRow):
            raise row.error
        if row.id in first:
            raise DataError(
                f"{path}, line {row.line}: id {row.id!r} was used on line {first[row.id]}; "
                "expected one id per row"
            )
        first[row.id] = row.line
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: expected one JSON object per line, got an empty file")
    check_pictures(path, rows)
    return TaskFile(Path(path), rows, keep=keep)


def check_pictures(path: str | Path, rows: Sequence[Row]) -> None:
    """All pictures are there before the first is asked for: a run must not find out in the night.

    Raises:
        DataError: Names the first few that are not.
    """
    named = [(r.line, p) for r in rows for p in (*r.pictures, *(v.path for v in r.videos))]
    absent = [(line, p) for line, p in named if not p.is_file()]
    if absent:
        told = "; ".join(f"line {line}: {picture}" for line, picture in absent[:3])
        noun = "files" if any(r.videos for r in rows) else "pictures"
        raise DataError(f"{path}: {len(absent)} {noun} are not there ({told})")


def _task(file: Path, row: Row) -> Task:
    where = f"{file}, line {row.line}"
    parts: list[TaskPart] = []
    try:
        for part in row.parts:
            if isinstance(part, VideoFile):
                parts += video_parts(part, where)
            else:
                parts.append(Image.open(part) if isinstance(part, Path) else part)
    except MediaError as err:
        raise DataError(f"{where}: {err}") from err
    pictures = [p for p in parts if isinstance(p, Image)]
    return Task(
        id=row.id,
        prompt=tuple(parts),
        reference=wanted_reference(where, row.wanted, row.answers, pictures)
        or reference(row.answers, row.spans),
        evidence=tuple(
            Evidence(at, read_box(where, bbox, pictures[at])) for at, bbox in row.evidence
        )
        + tuple(Evidence(at, span) for at, span in row.moments),
        tools=row.tools,
        system=row.system,
        calls=row.wanted.calls,
        tags=row.tags or {},
    )


def check_unchanged(task: str, before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse pictures that changed on disk since they were first read in this run.

    Raises:
        DataError: One did.
    """
    if list(before) != list(now):
        raise DataError(f"task {task!r}: a picture's file changed since it was first read")
