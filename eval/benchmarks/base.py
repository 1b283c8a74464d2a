"""A benchmark as a declaration: where its rows lie, and how a row becomes questions.

A `Spec` holds the layouts that its files come in. Each `Source` finds the rows of one layout and
makes an `Ask` of each question: words, media to be opened late, and the reference. `Questions` is
the sequence of tasks over them; nothing is decoded before its task is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias, overload

from vtool.benchmark import Benchmark, Layout, Summary, accepted, mean_score
from vtool.errors import DataError
from vtool.message import Json
from vtool.task import Reference, Task, TaskPart

from ..formats.media import Film, Medium, Picture
from ..formats.records import Record

LateReference: TypeAlias = Callable[[Sequence[TaskPart]], Reference]
"""Made once the media are open: boxes in pixels need the picture's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question, nothing of it decoded."""

    id: str
    words: str
    media: tuple[Medium, ...]
    reference: Reference | LateReference
    tags: Mapping[str, Json] = field(default_factory=dict)
    sized: bool = False
    """Whether the size of the first picture is told as the tag `size`."""

    def task(self) -> Task:
        """Open the media.

        Raises:
            DataError: One of them cannot be read.
        """
        opened: list[TaskPart] = [part for medium in self.media for part in medium.open()]
        late = self.reference
        reference = late(opened) if callable(late) else late
        tags = dict(self.tags)
        if self.sized:
            tags["size"] = list(opened[0].size)  # type: ignore[union-attr]
        return Task(id=self.id, prompt=(*opened, self.words), reference=reference, tags=tags)

    @property
    def absent(self) -> tuple[Path, ...]:
        """Files that the question names and that are not there."""
        paths = [m.path for m in self.media if isinstance(m, Picture | Film) and m.path]
        return tuple(p for p in paths if not p.is_file())


@dataclass(frozen=True, slots=True)
class Unasked:
    """A row that asks nothing that can be understood; told when its task is wanted."""

    id: str
    error: DataError

    absent: ClassVar[tuple[Path, ...]] = ()

    def task(self) -> Task:
        """There is none.

        Raises:
            DataError: Always.
        """
        raise self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One layout: how its rows are found, and what each of them asks."""

    layout: Layout
    rows: Callable[[Path], Sequence[Record]]
    """Rows below a root; none where the root is not of this layout."""
    asks: Callable[[Record, Path], Iterable[Ask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A benchmark's declaration."""

    name: str
    about: str
    sources: tuple[Source, ...]
    metric: str
    published: str | None = None
    summary: Summary = mean_score
    says: Callable[[Task], Sequence[str]] = accepted
    tools: tuple[str, ...] = ("zoom",)

    def read(self, root: Path) -> Questions:
        """The questions below a root.

        Raises:
            DataError: No layout fits, an id comes twice, or files are missing.
        """
        found = self.draft(root)
        found.check(self.name)
        return found

    def draft(self, root: Path) -> Questions:
        """The questions, unchecked: what is wrong with one is told when it is opened.

        Raises:
            DataError: No layout fits, or a file cannot be read.
        """
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"{self.name}: expected a folder, got {root}")
        for source in self.sources:
            rows = source.rows(root)
            if rows:
                return Questions([a for row in rows for a in _asked(source, row, root)])
        wanted = "; or ".join(f"{s.layout.where} ({s.layout.form})" for s in self.sources)
        raise DataError(f"{self.name}: found none of its files below {root}; expected {wanted}")

    def benchmark(self) -> Benchmark:
        """What the registry holds."""
        return Benchmark(
            name=self.name,
            read=self.read,
            draft=self.draft,
            metric=self.metric,
            tools=self.tools,
            summary=self.summary,
            published=self.published,
            layouts=tuple(s.layout for s in self.sources),
            says=self.says,
            about=self.about,
        )


def _asked(source: Source, row: Record, root: Path) -> list[Ask | Unasked]:
    try:
        return list(source.asks(row, root))
    except DataError as err:
        return [Unasked(row.where, err)]


class Questions(Sequence[Task]):
    """Tasks of a benchmark; media are opened on demand and a few tasks are kept.

    Args:
        asks: The questions.
        keep: How many opened tasks stay in memory.
    """

    def __init__(self, asks: Sequence[Ask | Unasked], *, keep: int = 16) -> None:
        self.asks, self._keep = tuple(asks), keep
        self._recent: OrderedDict[int, Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self.asks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Questions: ...
    def __getitem__(self, index: int | slice) -> Task | Questions:
        """One task, opened; or a part, nothing opened."""
        if isinstance(index, slice):
            return Questions(self.asks[index], keep=self._keep)
        at = range(len(self.asks))[index]
        if at not in self._recent:
            self._recent[at] = self.asks[at].task()
            if len(self._recent) > self._keep:
                self._recent.popitem(last=False)
        self._recent.move_to_end(at)
        return self._recent[at]

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(len(self)))

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all tasks, nothing opened."""
        return tuple(a.id for a in self.asks)

    def check(self, name: str) -> None:
        """Ids are unique and files are there, before the first is asked for.

        Raises:
            DataError: They are not, or a row asks nothing.
        """
        seen: set[str] = set()
        for ask in self.asks:
            if isinstance(ask, Unasked):
                raise ask.error
            if ask.id in seen:
                raise DataError(f"{name}: the id {ask.id!r} comes twice; expected unique ids")
            seen.add(ask.id)
        absent = sorted({p for a in self.asks for p in a.absent})
        if absent:
            told = ", ".join(str(p) for p in absent[:3])
            raise DataError(f"{name}: {len(absent)} media files are not there ({told})")
