"""The circuit breaker: a tool that breaks again and again stops the run, loudly.

Without it a dead tool would quietly turn every episode into one without tools.
"""

from __future__ import annotations

import threading

from vtool.errors import VToolError

IN_A_ROW = 20


class ToolBroken(VToolError, RuntimeError):
    """A tool raised something that is no `ModelFault`, or returned what no tool may return."""


class ToolDown(ToolBroken):
    """A tool broke so often in a row that it is not called again."""

    fatal = True
    """Not this episode alone is lost: the run cannot go on."""


class Breaker:
    """Counts the crashes in a row of each tool, over all episodes.

    Args:
        limit: So many, and the tool is down.
    """

    def __init__(self, limit: int = IN_A_ROW) -> None:
        self.limit = limit
        self._row: dict[str, int] = {}
        self._why: dict[str, str] = {}
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Refuse a tool that is down.

        Raises:
            ToolDown: It is.
        """
        with self._lock:
            row, why = self._row.get(name, 0), self._why.get(name, "")
        if row >= self.limit:
            raise ToolDown(f"tool {name} broke {row} times in a row, the last time: {why}")

    def crashed(self, name: str, why: str) -> None:
        """It broke once more.

        Raises:
            ToolDown: That was once too often.
        """
        with self._lock:
            self._row[name] = self._row.get(name, 0) + 1
            self._why[name] = why
        self.check(name)

    def worked(self, name: str) -> None:
        """It answered."""
        with self._lock:
            self._row.pop(name, None)
