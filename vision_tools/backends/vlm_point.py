"""Pointing by asking a vision-language model: its answer is read as its dialect writes places."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from vtool.environment import Limits, ToolEnvironment
from vtool.errors import EngineError
from vtool.geometry import Point
from vtool.loading import Policy, load_policy
from vtool.located import named
from vtool.media import Image
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.task import Points, Task
from vtool.toolbox import Toolbox

MAX_TOKENS = 128
"""A point and a few words of thought."""


@lru_cache(maxsize=1)
def policy_of(model: str, device: str, local_files_only: bool) -> Policy:
    """The model, loaded once.

    Raises:
        CheckpointError: There is no such checkpoint, or it is not safe to load.
    """
    return load_policy(model, device=device, local_files_only=local_files_only)


def points(image: Image, phrase: str, policy: Policy) -> tuple[tuple[Point, ...], str]:
    """Where a model says that a thing is.

    Args:
        image: Picture to look into.
        phrase: What to point at.
        policy: The model; asked greedily, without tools.

    Returns:
        The points, and what is to be told where there are none.

    Raises:
        EngineError: The model could not be asked.
    """
    with ThreadPoolExecutor(1) as thread:  # a tool may be called from a running loop
        episode, task = thread.submit(asyncio.run, _ask(image, phrase, policy)).result()
    if episode.stop.ours:
        raise EngineError(f"the model that points could not be asked: {episode.error}")
    found = named(episode, task)
    if found is None or not found.points:
        return (), f"the model gave no readable point for {phrase!r}"
    return found.points, ""


async def _ask(image: Image, phrase: str, policy: Policy) -> tuple[Episode, Task]:
    unit = policy.renderer.dialect.coordinates.describe().partition(" in ")[2]
    words = f"Point to {phrase}. Answer with one point, [x, y], in {unit}."
    task = Task(id="point", prompt=(image, words), reference=Points(()))
    env = ToolEnvironment(task, Toolbox(()), Limits(max_turns=1), seed=0)
    seat = policy.seat(Sampling(temperature=0.0, max_tokens=MAX_TOKENS))
    try:
        return await play(env, {"policy": seat}, key=(0,)), task
    finally:
        await env.close()
