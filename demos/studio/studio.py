"""The studio's household: policies, toolboxes and visitors, behind whatever page shows them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from vtool.environment import Limits
from vtool.task import Answer, Task, TaskPart
from vtool.tool import tools
from vtool.toolbox import Toolbox

from .attempt import Attempt
from .options import Options
from .policies import Cast, Policies
from .session import Sessions

_CACHE_BYTES = 1 << 24


@dataclass(slots=True, eq=False)
class Studio:
    """Everything that outlives one question.

    Args:
        options: What whoever starts it chooses.
        policies: Who may be asked.
    """

    options: Options
    policies: Policies
    sessions: Sessions = field(init=False)
    _boxes: dict[tuple[str, ...], Toolbox] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.options.keep_seconds)

    @property
    def limits(self) -> Limits:
        """Bounds of an attempt."""
        o = self.options
        return Limits(max_turns=o.max_turns, max_tokens=o.max_tokens, seconds=o.seconds)

    def toolbox(self, names: tuple[str, ...]) -> Toolbox:
        """These tools, with results of their own: what one visitor asked is not told to another.

        Workers and connections are shared by everybody who chooses the same.

        Raises:
            UnknownName: There is no such tool.
            ToolUnavailable: One lacks something here; the message says what.
        """
        key = tuple(sorted(set(names)))
        if key not in self._boxes:
            self._boxes[key] = Toolbox(list(key), forgiving=True, cache_bytes=_CACHE_BYTES)
        return self._boxes[key].changed(lambda tool: tool)

    def attempt(
        self, prompt: tuple[TaskPart, ...], cast: Cast, names: tuple[str, ...], seed: int = 0
    ) -> Attempt:
        """A question to be asked.

        Args:
            prompt: Pictures, videos and words.
            cast: Who is asked.
            names: Tools on offer.
            seed: Of the draws.
        """
        task = Task(id=f"studio-{uuid.uuid4().hex[:12]}", prompt=prompt, reference=Answer(()))
        return Attempt(task, cast, self.toolbox(names), self.limits, seed)

    async def close(self) -> None:
        """End worker processes and drop what visitors left."""
        for box in self._boxes.values():
            await box.close()
        self._boxes.clear()
        self.sessions.close()


def ready_tools() -> list[str]:
    """Tools that lack nothing here, by name."""
    return [name for name in tools.names() if not tools.get(name).lacks()]
