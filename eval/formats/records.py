"""One row of a file, whose heavy cells (pictures) are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from vtool.errors import DataError


class Record(Mapping[str, object]):
    """A row.

    Args:
        where: File and row, for messages.
        light: Cells that are in memory.
        heavy: Names of the other ones.
        load: Reads one of those.
    """

    __slots__ = ("_heavy", "_light", "_load", "where")

    def __init__(
        self,
        where: str,
        light: Mapping[str, object],
        heavy: Sequence[str] = (),
        load: Callable[[str], object] | None = None,
    ) -> None:
        self.where = where
        self._light, self._heavy, self._load = light, tuple(heavy), load

    def __getitem__(self, name: str) -> object:
        if name in self._light:
            return self._light[name]
        if name in self._heavy and self._load is not None:
            return self._load(name)
        raise DataError(
            f"{self.where}: expected a column {name!r}, got {', '.join(map(str, self))}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter((*self._light, *self._heavy))

    def __len__(self) -> int:
        return len(self._light) + len(self._heavy)

    def __contains__(self, name: object) -> bool:
        return name in self._light or name in self._heavy

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        """A cell, or something else where there is no such column."""
        return self[name] if name in self else default  # noqa: SIM401

    def text(self, name: str) -> str:
        """A cell that must be text; a number is written out.

        Raises:
            DataError: It is missing, or something else.
        """
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise DataError(f"{self.where}: expected text in {name!r}, got {type(value).__name__}")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A cell that must be a list of texts."""
        return tuple(str(v) for v in self.items_of(name))

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """A cell that must be a list of that many numbers."""
        values = self.items_of(name)
        if len(values) != count or not all(_is_number(v) for v in values):
            raise DataError(f"{self.where}: expected {count} numbers in {name!r}, got {values}")
        return tuple(float(v) for v in values)  # type: ignore[arg-type]

    def items_of(self, name: str) -> list[object]:
        """A cell that must be a list."""
        value = self[name]
        if not isinstance(value, list | tuple):
            raise DataError(f"{self.where}: expected a list in {name!r}, got {value!r:.80}")
        return list(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
