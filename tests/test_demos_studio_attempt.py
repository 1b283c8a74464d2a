"""An attempt of the studio: what stopping it stops, and what a branch leaves as it was."""

import asyncio
import time

import numpy as np
import psutil
import pytest
from vtool.demos.studio.attempt import Attempt
from vtool.demos.studio.closed import brief, refuse_address
from vtool.demos.studio.path import ends
from vtool.demos.studio.pen import read_fields
from vtool.demos.studio.policies import Cast
from vtool.demos.studio.script import script_seat, words_seat
from vtool.demos.studio.world import outside
from worker_tools import far_act

from vtool.environment import Limits
from vtool.errors import ForkRefused
from vtool.media import Image
from vtool.record import StopReason
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

LIMITS = Limits(max_turns=3, max_tokens=512, seconds=60)


def attempt(seat, *tools):
    picture = Image(np.zeros((64, 64, 3), np.uint8))
    task = Task(id="t", prompt=(picture, "what?"), reference=Answer(()))
    return Attempt(task, Cast("p", seat, "scripted"), Toolbox([*tools]), LIMITS)


async def played(one):
    async for _ in one.play():
        pass
    return one.episode


def sleeping(messages):
    """Calls a tool that sleeps for a minute."""
    return '<tool_call>\n{"name": "far_act", "arguments": {"act": "sleep"}}\n</tool_call>'


def workers():
    return {p.pid for p in psutil.Process().children(recursive=True)}


def test_stop_kills_the_tool_that_runs():
    async def until(true):
        end = time.monotonic() + 10.0
        while not true() and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def go():
        before = workers()
        one = attempt(words_seat(sleeping), far_act)
        playing = asyncio.ensure_future(played(one))
        await until(lambda: workers() - before)
        started = workers() - before
        await asyncio.sleep(0.5)  # now it sleeps
        begun = time.monotonic()
        stopped = await one.stop()
        await until(lambda: not workers() & started)
        took, left = time.monotonic() - begun, workers() & started
        await asyncio.gather(playing, return_exceptions=True)
        await one.toolbox.close()
        return one, started, stopped, took, left

    one, started, stopped, took, left = asyncio.run(go())
    assert started
    assert stopped
    assert not left
    assert took < 2.0
    assert one.episode.stop is StopReason.CANCELLED


def test_stopping_what_has_ended_does_nothing():
    async def go():
        one = attempt(script_seat(), "zoom")
        episode = await played(one)
        return episode.stop, await one.stop(), one.going

    assert asyncio.run(go()) == (StopReason.ANSWERED, False, False)


def test_a_branch_leaves_its_past_as_it_was():
    async def go():
        one = attempt(script_seat(), "zoom")
        episode = await played(one)
        before = [m.text for m in episode.contexts[0].messages()]
        edit = read_fields(
            "mine", '{"name": "zoom", "arguments": {"image": 1, "box": [0, 0, 500, 500]}}', ""
        )
        async for _ in one.rerun(0, 0, edit):
            pass
        with pytest.raises(ForkRefused):
            async for _ in one.rerun(0, 7, edit):
                pass
        return episode, before

    episode, before = asyncio.run(go())
    assert [m.text for m in episode.contexts[0].messages()] == before
    assert ends(episode) == [0, 1]
    turns = [m.action for m in episode.contexts[1].messages() if m.action]
    assert turns[0].thought == "mine"
    assert turns[0].calls[0].arguments["box"] == [0, 0, 500, 500]


@pytest.mark.parametrize(
    ("policy", "question", "size", "why"),
    [
        ("tiny/clean", "what digit is in the red circle?", (384, 384), None),
        ("tiny/clean", "What digit is in the RED circle? ", (384, 384), None),
        ("tiny/clean", "what digit is in the red circle?", (640, 480), "pictures of 384"),
        ("tiny/clean", "what digit is in the beige circle?", (384, 384), "questions such as"),
        ("tiny/clean", "ignore this: what digit is in the red circle?", (384, 384), "questions"),
        ("tiny/moments", "what digit is in the red circle?", (384, 384), "a coloured flash"),
        ("somebody/else", "anything", (5, 5), None),
    ],
)
def test_small_worlds_have_an_end(policy, question, size, why):
    picture = Image(np.zeros((size[1], size[0], 3), np.uint8))
    said = outside(policy, question, (picture,))
    assert said is None if why is None else why in said


def test_an_address_is_no_file_and_an_error_is_told_without_its_words():
    from gradio import Error

    with pytest.raises(Error, match="nothing is fetched"):
        asyncio.run(refuse_address("http://203.0.113.7/a.png", "/tmp"))
    try:
        raise ValueError("my secret")
    except ValueError as err:
        told = brief(err)
    assert "secret" not in told
    assert "ValueError at" in told
    assert brief(None) == "studio: NoneType"
