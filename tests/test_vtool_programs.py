"""Programs: whose fault an end is, and what a tree's episode ends with."""

import asyncio

import pytest
from scripts import answer_text, completion, picture, plain_renderer, zoom_text
from vtool.vision_tools.zoom import zoom

from vtool.environment import Limits, ToolEnvironment
from vtool.programs.branch import branch
from vtool.programs.solo import play
from vtool.record import Sampling, StopReason
from vtool.reward import RewardPart, Scope, Site, Unscored
from vtool.scoring import score_group
from vtool.seat import Seat
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

RENDERER = plain_renderer()
TASK = Task(id="t", prompt=(picture(), "digit?"), reference=Answer(("7",)))


class Says:
    """Answers each draw by a coroutine of its key."""

    def __init__(self, script):
        self.script = script

    async def generate(self, request):
        return completion(RENDERER, await self.script(request.key), seed=sum(request.key))


def seats(script):
    return {"policy": Seat("policy", RENDERER, Says(script), Sampling())}


def env(seconds=60.0):
    return ToolEnvironment(TASK, Toolbox([zoom]), Limits(seconds=seconds))


def total(parts):
    from vtool.reward import Score

    return Score(parts, parts["answer"])


def reward(episode):
    part = RewardPart("answer", Site.EPISODE, Scope.ATTEMPT, lambda e, t: float(e.answer == "7"))
    return score_group([episode], TASK, [part], total)[0].total


@pytest.mark.parametrize("error", [TimeoutError("no route"), ConnectionError("gone")])
def test_an_engine_that_raises_is_our_fault_whatever_it_raises(error):
    async def script(key):
        raise error

    episode = asyncio.run(play(env(), seats(script)))
    assert episode.stop is StopReason.FAILED
    assert str(error) in episode.error
    assert isinstance(reward(episode), Unscored)


def test_the_wall_clock_masks_an_episode_and_is_no_zero():
    async def script(key):
        await asyncio.sleep(5)

    episode = asyncio.run(play(env(seconds=0.05), seats(script)))
    assert (episode.stop, episode.stop.ours, episode.error) == (StopReason.TIMEOUT, True, None)
    assert isinstance(reward(episode), Unscored)


@pytest.mark.parametrize("slow", ["trunk", "fork"])
def test_a_trees_answer_is_its_final_paths_whoever_finishes_last(slow):
    async def script(key):
        if key[-1] == 0 and len(key) == 3:
            return zoom_text()
        who = "trunk" if key[-2] == 0 else "fork"
        await asyncio.sleep(0.1 if who == slow else 0)
        return answer_text(who)

    episode = asyncio.run(branch(env(), seats(script), key=(1,), after=1, width=2))
    assert {c.answer for c in episode.contexts} == {"trunk", "fork"}
    assert episode.answer == episode.final.answer == "fork"
    assert episode.stop is StopReason.ANSWERED


def test_a_tree_whose_trunk_breaks_is_recorded_and_one_path_that_hangs_is_masked():
    async def broken(key):
        raise OSError("disk")

    episode = asyncio.run(branch(env(), seats(broken), key=(1,)))
    assert (episode.stop, episode.error) == (StopReason.FAILED, "OSError: disk")

    async def hangs(key):
        if len(key) > 3:
            await asyncio.sleep(5)
        return zoom_text() if key[-1] == 0 else answer_text("7")

    episode = asyncio.run(branch(env(seconds=0.3), seats(hangs), key=(1,), after=1, width=2))
    assert [leaf.stop for leaf in episode.leaves()] == [StopReason.ANSWERED, StopReason.TIMEOUT]


def test_parallel_calls_do_not_leave_more_pictures_than_there_may_be():
    call = zoom_text()
    closed = call[call.index("<tool_call>") :]

    async def script(key):
        return call + "\n" + "\n".join([closed] * 3) if key[-1] == 0 else answer_text("7")

    world = ToolEnvironment(TASK, Toolbox([zoom]), Limits(max_images=3))
    episode = asyncio.run(play(world, seats(script)))
    faults = [o.fault.code if o.fault else None for o in episode.outcomes()]
    assert len(world.store.images()) == 3
    assert faults == [None, None, "too_many_images", "too_many_images"]


def test_a_question_with_more_pictures_than_there_may_be_is_our_fault_and_says_so():
    many = Task(id="m", prompt=(picture(), picture(32, 32, 1), "?"), reference=Answer(("7",)))

    async def script(key):
        return answer_text("7")

    world = ToolEnvironment(many, Toolbox([zoom]), Limits(max_images=1))
    episode = asyncio.run(play(world, seats(script)))
    assert episode.stop is StopReason.FAILED
    assert "shows 2 pictures, but limits.max_images is 1" in episode.error


def test_an_episode_is_shown_as_one_line():
    async def script(key):
        return answer_text("7")

    episode = asyncio.run(play(env(), seats(script)))
    told = repr(episode)
    assert told.startswith("Episode('t', answered, answer='7'")
    assert len(told) < 120
