"""Replay: rescue of groups that failed, and self-imitation; what is stored and what it is worth."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import picture, plain_renderer, toy_episode
from toy_run import told, toy_recipe, trained
from vtool.rl.group_advantage import group_credits
from vtool.rl.imitation_buffer import ImitationBuffer, ImitationSpec
from vtool.rl.learner_settings import LearnerSettings
from vtool.rl.recipe import ReplaySpec
from vtool.rl.replay import Pick, RescueSpec, SuccessBuffer
from vtool.rl.self_imitation import ReplaySpec as ReplayLoss
from vtool.rl.train import train

from vtool.errors import RecipeError
from vtool.message import Author
from vtool.record import Group
from vtool.reward import Score, Unscored
from vtool.task import Answer, Task

RENDERER = plain_renderer()
TASK = Task(id="toy", prompt=(picture(), "?"), reference=Answer(("7",)))


def group(count=8, seed=0, task_id="toy"):
    from vtool.record import StopReason

    made = [toy_episode(RENDERER, turns=1, seed=seed + i, task_id=task_id) for i in range(count)]
    for episode in made:
        episode.stop = episode.contexts[0].stop = StopReason.ANSWERED
    return Group(task_id, tuple(made))


def scores(values):
    return [Score({}, Unscored("lost") if v is None else float(v)) for v in values]


def stocked(spec=None, count=1):
    buffer = SuccessBuffer(spec or RescueSpec())
    buffer.admit(TASK, group(count, seed=50), scores([1.0] * count))
    return buffer


# ------------------------------------------------------------------- rescue


def test_a_group_of_failures_gets_one_success_and_an_advantage():
    """ARPO-GUI: eight times 0 with a buffer gives 8 attempts, 1 positive, credit for all."""
    buffer, failed = stocked(), group()
    rescued = buffer.substitute(TASK, failed, scores([0] * 8))
    assert len(rescued.episodes) == 8
    assert rescued.episodes[1:] == failed.episodes[1:]
    assert rescued.episodes[0] is buffer.stored[0].episode
    credits = group_credits(rescued.episodes, scores([1] + [0] * 7))
    assert not any(c.dead for c in credits)
    assert max(credits[0].segments) > 0 > min(credits[1].segments)


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [0.25] * 8,
        [0.0, 0.15] * 4,
        [None] * 8,
        [1.0] * 8,
    ],
    ids=["one succeeded", "mean too high", "deviation too high", "nobody was scored", "solved"],
)
def test_other_groups_are_left_untouched(values):
    failed = group()
    assert stocked().substitute(TASK, failed, scores(values)) is failed


def test_an_empty_buffer_and_another_task_change_nothing():
    failed = group()
    assert SuccessBuffer(RescueSpec()).substitute(TASK, failed, scores([0] * 8)) is failed
    other = dataclasses.replace(TASK, id="other")
    assert stocked().substitute(other, failed, scores([0] * 8)) is failed


def test_what_is_replayed_carries_the_log_probs_of_who_wrote_it():
    source = group(1, seed=50)
    buffer = SuccessBuffer(RescueSpec())
    buffer.admit(TASK, source, scores([1.0]))
    replayed = buffer.substitute(TASK, group(), scores([0] * 8)).episodes[0]
    assert np.array_equal(replayed.final.logprobs(), source.episodes[0].final.logprobs())
    spoken = [s for s in replayed.final.segments if s.author is Author.POLICY]
    assert all(s.logprobs is not None and s.version is not None for s in spoken)


@given(marks=st.lists(st.floats(0, 1), min_size=1, max_size=30), size=st.integers(1, 4))
@settings(max_examples=20)
def test_a_task_keeps_its_newest_successes_and_no_more(marks, size):
    buffer = SuccessBuffer(RescueSpec(size=size))
    episode = group(1).episodes[0]
    for step, mark in enumerate(marks):
        buffer.begin(step)
        buffer.admit(TASK, Group("toy", (episode,)), scores([mark]))
    good = [(i, m) for i, m in enumerate(marks) if m > 0.1]
    assert [(s.step, s.score.total) for s in buffer.stored] == good[-size:]


def test_the_whole_buffer_is_bounded_and_old_successes_go():
    buffer = SuccessBuffer(RescueSpec(total=3, size=2, max_age=2))
    for step in range(3):
        buffer.begin(step)
        for name in "abc":
            buffer.admit(TASK, group(1, task_id=name), scores([1.0]))
        assert len(buffer.stored) <= 3
    assert {s.step for s in buffer.stored} == {2}
    buffer.begin(5)
    assert not buffer.stored


def test_which_success_is_replayed_is_seeded_or_the_newest():
    buffer = stocked(RescueSpec(pick=Pick.NEWEST), 5)
    assert buffer.substitute(TASK, group(), scores([0] * 8)).episodes[0] is (
        buffer.stored[-1].episode
    )
    buffer = stocked(count=5)
    chosen = []
    for step in (0, 0, 1, 2, 3, 4):
        buffer.begin(step)
        first = buffer.substitute(TASK, group(), scores([0] * 8)).episodes[0]
        chosen.append(next(i for i, s in enumerate(buffer.stored) if s.episode is first))
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


@pytest.mark.parametrize("bad", [{"size": 0}, {"total": 0}, {"max_age": -1}])
def test_buffers_that_are_none_are_refused(bad):
    with pytest.raises(RecipeError, match="size >= 1"):
        RescueSpec(**bad)


def test_a_buffer_comes_back_from_disk(tmp_path):
    buffer = SuccessBuffer(RescueSpec())
    for step in (1, 4):
        buffer.begin(step)
        buffer.admit(TASK, group(2, seed=step), scores([0.5, 1.0]))
    buffer.save(tmp_path)
    again = SuccessBuffer(RescueSpec())
    again.load(tmp_path, lambda i, s: TASK)
    assert [(s.step, s.score.total) for s in again.stored] == [
        (1, 0.5),
        (1, 1.0),
        (4, 0.5),
        (4, 1.0),
    ]
    for old, new in zip(buffer.stored, again.stored, strict=True):
        assert old.episode.final.ids().tolist() == new.episode.final.ids().tolist()
        assert old.episode.final.logprobs().tolist() == new.episode.final.logprobs().tolist()


# ------------------------------------------------------------------- self-imitation


def filled(rows, **options):
    """A buffer that saw groups of two: [(step, better, worse)]."""
    buffer = ImitationBuffer(ImitationSpec(**{"capacity": 4, "trigger": 0.0, **options}))
    for step, better, worse in rows:
        made, marks = group(2, seed=step), scores([better, worse])
        buffer.add(made, marks, group_credits(made.episodes, marks, "dr_grpo"), step)
    return buffer


def values(credits):
    return sorted(round(max(c.segments), 6) for c in credits)


def test_only_what_was_better_than_its_group_waits():
    buffer = filled([(0, 1.0, 0.0), (1, 0.5, 0.5)])
    assert [w.total for w in buffer.waiting] == [1.0]
    assert buffer.means == [0.5, 0.5]


def test_an_entry_below_the_median_of_recent_means_is_dropped():
    """SPEAR: R = .4 against a median of .5 goes, what is above it counts by the difference."""
    rows = [(0, 0.4, 0.2), (1, 0.9, 0.3), (2, 0.6, 0.4), (3, 1.0, 0.0)]
    buffer = filled(rows)
    assert buffer.means == pytest.approx([0.3, 0.6, 0.5, 0.5])
    found = buffer.take(3)
    # 0.9 - 0.5, 0.6 - 0.5 and 1.0 - 0.5 are fit: the largest power of two of 3 is 2.
    assert len(found) == 2
    assert set(values(found)) <= {0.1, 0.4, 0.5}


def test_the_buffer_is_used_when_it_is_full_and_empty_thereafter():
    buffer = filled([(s, 1.0, 0.0) for s in range(6)], trigger=1.5)
    assert not buffer.full
    assert buffer.take(6) == []
    made, marks = group(2, seed=9), scores([1.0, 0.0])
    buffer.add(made, marks, group_credits(made.episodes, marks), 6)
    assert buffer.full
    assert len(buffer.take(6)) == 4
    assert not buffer.waiting


def test_old_attempts_are_dropped():
    buffer = filled([(0, 1.0, 0.0), (9, 1.0, 0.0)], max_age=5)
    assert len(buffer.take(9)) == 1
    assert len(filled([(0, 1.0, 0.0), (9, 1.0, 0.0)], max_age=9).take(9)) == 2


def test_what_is_taken_is_a_function_of_seed_and_step():
    def taken(step, seed=0):
        buffer = filled([(s, 1.0, 0.0) for s in range(7)], max_age=99)
        buffer.seed = seed
        return [c.episode.seed for c in buffer.take(step)]

    assert taken(3) == taken(3)
    assert len({tuple(taken(3, seed)) for seed in range(6)}) > 1


def test_an_imitation_buffer_comes_back_from_disk(tmp_path):
    buffer = filled([(0, 1.0, 0.0), (1, 0.7, 0.1)])
    buffer.save(tmp_path)
    again = ImitationBuffer(buffer.spec)
    again.load(tmp_path, lambda i, s: TASK)
    assert again.means == buffer.means
    assert [(w.total, w.step) for w in again.waiting] == [(1.0, 0), (0.7, 1)]
    assert values(again.take(1)) == values(buffer.take(1))


# ------------------------------------------------------------------- runs


RESCUE = ReplaySpec(rescue=RescueSpec(mean=9.0, std=0.5))
IMITATE = ReplaySpec(imitation=ImitationSpec(capacity=1, trigger=1.0))
LOSS = LearnerSettings(lr=1e-3, batch_tokens=256, replay=ReplayLoss(warmup=0))


def small(**changes):
    from vtool.rl.recipe import DataSpec

    few = DataSpec(options={"seed": 1, "one": 2, "none": 1})
    return toy_recipe(
        **{"data": few, "prompts": 3, "group_size": 4, "checkpoint_every": 1, "keep": 9, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"replay": RESCUE}, "rescued_groups"),
        ({"replay": IMITATE, "learner": LOSS}, "replay/trained_tokens"),
    ],
    ids=["rescue", "imitation"],
)
def test_a_run_that_replays_learns_and_resumes_to_the_same_bits(tmp_path, changes, sign):
    recipe = small(steps=4, **changes)
    train(recipe, tmp_path / "whole")
    rows = told(tmp_path / "whole")
    assert any(r.get(sign) for r in rows)
    for stop in (1, 2, 3):
        out = tmp_path / f"stopped{stop}"
        train(dataclasses.replace(recipe, steps=stop), out)
        train(recipe, out)
        assert told(out) == rows
        assert trained(out) == trained(tmp_path / "whole")
    plain = small(steps=4, learner=recipe.learner)
    train(plain, tmp_path / "plain")
    assert trained(tmp_path / "plain") != trained(tmp_path / "whole")


def test_a_replay_that_never_acts_changes_no_bit(tmp_path):
    idle = ReplaySpec(rescue=RescueSpec(mean=-9.0), imitation=ImitationSpec(capacity=512))
    train(small(steps=2, replay=idle), tmp_path / "idle")
    train(small(steps=2), tmp_path / "plain")
    assert trained(tmp_path / "idle") == trained(tmp_path / "plain")
