"""Attempts played for real (environment, toolbox, renderer) from scripted turns, for rewards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np
from scripts import completion, picture, plain_renderer
from vtool.vision_tools.zoom import zoom

from vtool.environment import Limits, ToolEnvironment
from vtool.geometry import Box, Mask
from vtool.media import Image
from vtool.observation import Observation, Way
from vtool.programs.solo import play
from vtool.record import Episode, Sampling
from vtool.reward import parts
from vtool.seat import Seat
from vtool.task import Answer, Evidence, Task
from vtool.tool import tool
from vtool.toolbox import Toolbox

TARGET = Box(0.25, 0.25, 0.5, 0.5)


@tool(name="outline_for_tests")
def outline(image: Image, box: Box) -> Observation:
    """Outline a box.

    Args:
        image: Picture to look into.
        box: What to outline.
    """
    h, w = image.pixels.shape[:2]
    ys, xs = np.mgrid[0:h, 0:w] + 0.5
    inside = (xs / w > box.x1) & (xs / w < box.x2) & (ys / h > box.y1) & (ys / h < box.y2)
    return Observation((Mask(inside),), "outlined", ways=((Way(image),),))


@tool(name="read_for_tests")
def read(image: Image) -> str:
    """Read the words of a picture.

    Args:
        image: Picture to read.
    """
    return "it says 42"


@tool(name="nothing_for_tests")
def nothing(image: Image) -> str:
    """Do nothing.

    Args:
        image: Not looked at.
    """
    return ""


TOOLS = (zoom, outline, read, nothing)


TARGETS = (Evidence(0, TARGET),)


def question(reference=None, evidence=TARGETS, words="what?", **options) -> Task:
    """A task on one picture of 200 by 100."""
    shown = picture(200, 100, 1)
    given = reference or Answer(("42",))
    return Task(id="t", prompt=(shown, words), reference=given, evidence=evidence, **options)


def call(name: str, image: int = 1, box: Sequence[float] | None = None, words: str = "so") -> str:
    """A turn that calls; the box in thousandths."""
    arguments: dict[str, object] = {"image": image}
    if box is not None:
        arguments["box"] = list(box)
    body = json.dumps({"name": name, "arguments": arguments})
    return f"{words}\n<tool_call>\n{body}\n</tool_call>"


def look(box: Sequence[float] = (250, 250, 500, 500), image: int = 1) -> str:
    """A zoom; on the target unless said otherwise."""
    return call("zoom", image, box)


def final(answer: object, words: str = "I see.") -> str:
    """A turn that answers; anything but text is written as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return f"{words}\n<answer>{text}</answer>"


def attempt(task: Task, *turns: str, seed: int = 0, dialect: str = "hermes", **limits) -> Episode:
    """Play these turns."""
    renderer = plain_renderer(dialect)

    class Says:
        async def generate(self, request):
            return completion(renderer, turns[request.key[-1]], seed=sum(request.key))

    env = ToolEnvironment(task, Toolbox(list(TOOLS)), Limits(**limits), seed)
    seats = {"policy": Seat("policy", renderer, Says(), Sampling())}
    episode = asyncio.run(play(env, seats, key=(seed,)))
    assert not episode.stop.ours, episode.error
    return episode


BAD_CALL = "so\n<tool_call>\n{zoom}\n</tool_call>"
"""A turn whose call cannot be read."""


def mark(name: str, episode: Episode, task: Task, **options):
    """What a part says of an attempt."""
    return parts.get(name).set(**options).fn(episode, task)


def scores(name: str, task: Task, *turns: str, **options):
    """The same, played first."""
    return mark(name, attempt(task, *turns), task, **options)


FULL = look(box=(0, 0, 1000, 1000))
"""A zoom that shows the whole picture again."""
