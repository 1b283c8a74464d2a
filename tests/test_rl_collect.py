"""Collecting: groups, dead ones, failures of ours, and the counts that are told."""

import asyncio
import dataclasses

import pytest
from scripts import answer_text, completion, picture, plain_renderer, zoom_text
from vtool.rl.collect import Collector, Judges, TooManyFailures, describe

from vtool.environment import ToolEnvironment
from vtool.errors import EngineError
from vtool.record import Sampling
from vtool.reward import RewardPart, Scope, Score, Site, Unscored
from vtool.seat import Seat
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

RENDERER = plain_renderer()


class Says:
    """An engine that says what a function of the request's key says."""

    version = 3

    def __init__(self, script):
        self.script = script

    async def generate(self, request):
        text = self.script(request.key)
        if text is None:
            raise EngineError("the engine is gone")
        return completion(RENDERER, text, version=3, seed=sum(request.key))


def right(episode, task):
    return float(episode.answer == task.reference.texts[0])


def total(parts):
    mark = parts["answer"]
    return Score(parts, mark if isinstance(mark, Unscored) else float(mark))


PARTS = (RewardPart("answer", Site.EPISODE, Scope.ATTEMPT, right),)


def tasks(count=4):
    return [
        Task(
            id=f"t{i}",
            prompt=(picture(32, 32, i), "digit?"),
            reference=Answer(("7",)),
            tags={"zooms": i % 2},
        )
        for i in range(count)
    ]


def collector(script, size=2, **options):
    from vtool.vision_tools.zoom import zoom

    toolbox = Toolbox([zoom])
    return Collector(
        seats={"policy": Seat("policy", RENDERER, Says(script), Sampling())},
        make_env=lambda task, seed: ToolEnvironment(task, toolbox, seed=seed),
        judges=Judges(PARTS, total),
        group_size=size,
        **options,
    )


def collect(made, prompts, refill=0, drawn=None):
    source = iter(tasks(64))

    def draw(count):
        got = [next(source) for _ in range(count)]
        if drawn is not None:
            drawn.append(len(got))
        return got

    return asyncio.run(made.collect(draw, prompts, key=(9,), refill=refill))


def by_attempt(key):
    """Every second attempt is right; a key is seed, drawn before, task, attempt, context, draw."""
    return answer_text("7" if key[3] % 2 == 0 else "1")


def test_groups_scores_and_credits_belong_together():
    found = collect(collector(by_attempt), 3)
    assert [g.task_id for g in found.groups] == ["t0", "t1", "t2"]
    assert all(len(g.episodes) == 2 for g in found.groups)
    assert [[s.total for s in row] for row in found.scores] == [[1.0, 0.0]] * 3
    assert len(found.credits) == 6
    assert not any(c.dead for c in found.credits)
    assert found.dead == 0
    assert found.drawn == 3


def test_dead_groups_give_no_credit_and_are_counted():
    script = lambda key: answer_text("7") if key[2] == 0 else by_attempt(key)  # noqa: E731
    found = collect(collector(script), 3)
    assert found.dead == 1
    assert len(found.groups) == 3
    assert {c.episode.task_id for c in found.credits if not c.dead} == {"t1", "t2"}
    assert sum(c.dead for c in found.credits) == 2
    assert describe(found)["dead_groups"] == pytest.approx(1 / 3)


def test_dead_groups_are_refilled_up_to_a_bound():
    drawn = []
    # Keys count the tasks drawn before: only those of the first round are dead.
    script = lambda key: answer_text("7") if key[1] == 0 else by_attempt(key)  # noqa: E731
    found = collect(collector(script), 3, refill=2, drawn=drawn)
    assert drawn == [3, 3]
    assert found.dead == 3
    assert [g.task_id for g in found.groups] == ["t3", "t4", "t5"]
    drawn.clear()
    never = collect(collector(lambda key: answer_text("7")), 3, refill=2, drawn=drawn)
    assert sum(drawn) == 3 + 2 * 3
    assert not never.groups
    assert not never.credits


def test_a_broken_engine_masks_its_episodes_and_many_stop_the_run():
    script = lambda key: None if key[2:4] == (0, 0) else by_attempt(key)  # noqa: E731
    found = collect(collector(script, size=4), 2)
    assert isinstance(found.scores[0][0].total, Unscored)
    assert len(found.credits) == 7
    numbers = describe(found)
    assert numbers["masked"] == 1
    assert numbers["stop/failed"] == pytest.approx(1 / 8)
    with pytest.raises(TooManyFailures, match="EngineError: the engine is gone"):
        collect(collector(lambda key: None), 2)


def test_what_is_told_about_a_step():
    def script(key):
        if key[3] == 1:
            return answer_text("1")
        return zoom_text() if key[-1] == 0 else answer_text("7")

    numbers = describe(collect(collector(script), 2))
    assert numbers["episodes"] == 4
    assert numbers["accuracy"] == 0.5
    assert numbers["reward/total"] == numbers["reward/part/answer"] == 0.5
    assert numbers["accuracy/zooms=0"] == numbers["accuracy/zooms=1"] == 0.5
    assert numbers["tool_rate"] == 0.5
    assert numbers["turns"] == 1.5
    assert numbers["valid_call_rate"] == 1.0
    assert numbers["stop/answered"] == 1.0


def test_without_a_judge_of_answers_there_is_no_accuracy():
    found = collect(collector(by_attempt), 2)
    scores = [[dataclasses.replace(s, parts={"format": 1.0}) for s in row] for row in found.scores]
    numbers = describe(dataclasses.replace(found, scores=scores))
    assert not [k for k in numbers if k.startswith("accuracy")]


def test_equal_keys_play_equal_episodes():
    ids = []
    for _ in range(2):
        found = collect(collector(by_attempt), 2)
        ids.append([e.final.ids().tolist() for g in found.groups for e in g.episodes])
    assert ids[0] == ids[1]
