"""SIGTERM and ctrl-C: the step at hand is finished and saved, then the process ends.

Asked a second time, the step is abandoned: the last checkpoint is what a resume goes on from.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Interrupts:
    """While it is entered, signals are noted instead of ending the process.

    In threads other than the main one Python gives nobody signals; nothing is done there.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    @property
    def exit_code(self) -> int:
        """What the process should end with: 0, 130 (ctrl-C) or 143 (SIGTERM)."""
        return 0 if self.caught is None else CODES[self.caught]

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in CODES:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.caught is not None
        self.caught = signal.Signals(number)
        if again:
            raise KeyboardInterrupt
