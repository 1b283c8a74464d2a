"""An agent as other harnesses want one: pictures and words in, an answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtool.environment import Limits, ToolEnvironment
from vtool.errors import DataError
from vtool.loading import load_policy
from vtool.media import Image
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.task import Answer, Task, TaskPart
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter
from vtool.video.source import Video

from ..attempt import broken

VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi")


class AgentBroke(RuntimeError):
    """Something of ours failed: the harness must not count it as a wrong answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a harness."""

    id: str
    parts: tuple[TaskPart, ...]


class Agent:
    """A policy with its tools.

    Args:
        model: A folder, a shipped policy, or ``owner/name``.
        tools: Names of tools, with ``+`` or ``,`` between them; empty for none.
        max_turns: Of an episode.
        max_tokens: Of an episode.
        temperature: 0 is greedy.
        seed: Of the draws.
        device: As `load_policy` takes it.
        trace: Folder that keeps the episodes; must not hold a trace yet.

    Raises:
        CheckpointError: There is no such model.
        ToolUnavailable: A tool lacks something here.
    """

    def __init__(
        self,
        model: str = "tiny/clean",
        *,
        tools: str = "zoom",
        max_turns: int = 6,
        max_tokens: int = 4096,
        temperature: float = 0.0,
        seed: int = 0,
        device: str | None = None,
        trace: str | Path | None = None,
    ) -> None:
        self.model = model
        self.policy = load_policy(model, device=device)
        names = [n.strip() for n in tools.replace("+", ",").split(",")]
        self.toolbox = Toolbox([n for n in names if n])
        self.limits = Limits(max_turns=max_turns, max_tokens=max_tokens)
        self.sampling = Sampling(temperature=temperature)
        self.seed = seed
        self._writer = TraceWriter(Path(trace)) if trace else None

    def answer(self, questions: Sequence[Asked]) -> list[Episode]:
        """Play all of them; in their order.

        Raises:
            AgentBroke: Something of ours failed in one; the message says what, and in which.
        """
        episodes: list[Episode] = asyncio.run(self._all(questions))
        for asked, episode in zip(questions, episodes, strict=True):
            if broken(episode.stop):
                raise AgentBroke(f"question {asked.id}: {episode.stop}: {episode.error}")
        return episodes

    async def _all(self, questions: Sequence[Asked]) -> list[Episode]:
        seats = {"policy": self.policy_seat()}

        def job(index: int) -> Callable[[], Awaitable[Episode]]:
            async def go() -> Episode:
                asked = questions[index]
                task = Task(id=asked.id, prompt=asked.parts, reference=Answer(()))
                env = ToolEnvironment(task, self.toolbox, self.limits, seed=self.seed)
                try:
                    episode = await play(env, seats, key=(self.seed, index))
                finally:
                    await env.close()
                if self._writer is not None:
                    self._writer.write(episode, None, {"by": "bridge"})
                return episode

            return go

        try:
            jobs = [job(i) for i in range(len(questions))]
            return await run_all(jobs, engine=self.policy.engine, concurrency=64)
        finally:
            await self.toolbox.close()

    def policy_seat(self) -> Seat:
        """Who plays."""
        return self.policy.seat(self.sampling)


def part_of(value: Any) -> TaskPart:
    """What a harness hands over, as part of a prompt.

    Args:
        value: Words, a PIL picture, or the path of a picture or video.

    Raises:
        DataError: None of these.
        MediaError: A file that cannot be read.
    """
    if isinstance(value, (Image, Video)):
        return value
    if hasattr(value, "convert"):  # a PIL picture
        return Image(np.array(value.convert("RGB")))
    if isinstance(value, (str, Path)):
        path = Path(value)
        return Video.open(path) if path.suffix.lower() in VIDEOS else Image.open(path)
    raise DataError(f"expected a picture, a video or a path, got {type(value).__name__}")


def said(episode: Episode) -> str:
    """The answer as a harness scores it; nothing where there is none."""
    return episode.answer or ""
