"""Credit: groups and scores to one number a segment, and a step that hangs on nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import begin, picture, plain_renderer, question, say, toy_episode
from vtool.rl.advantage import ESTIMATORS
from vtool.rl.group_advantage import group_credits, tree_credits, tree_nodes

from vtool.errors import VToolError
from vtool.message import Action, Author, Message, Role, Show
from vtool.record import Episode, Fold, Fork, Segment, Spawn, StopReason
from vtool.reward import Score, Unscored

RENDERER = plain_renderer()


def group(turns):
    return [toy_episode(RENDERER, turns=n, seed=i) for i, n in enumerate(turns)]


def scores(values):
    return [Score({}, Unscored("lost") if v is None else float(v)) for v in values]


def own(credit):
    """Credits of the policy's segments."""
    pairs = zip(credit.context.segments, credit.segments, strict=True)
    return [c for s, c in pairs if s.author is Author.POLICY]


@pytest.mark.parametrize(
    ("estimator", "wanted"),
    [
        ("grpo", [1.5, -0.5, -0.5, -0.5]),
        ("dr_grpo", [0.75, -0.25, -0.25, -0.25]),
        ("rloo", [1, -1 / 3, -1 / 3, -1 / 3]),
    ],
)
def test_worked_numbers_reach_every_turn_of_the_policy(estimator, wanted):
    found = group_credits(group([1, 2, 3, 2]), scores([1, 0, 0, 0]), estimator)
    for credit, value, turns in zip(found, wanted, [1, 2, 3, 2], strict=True):
        assert own(credit) == pytest.approx([value] * turns, abs=1e-5)
        others = zip(credit.context.segments, credit.segments, strict=True)
        assert all(c == 0 for s, c in others if s.author is not Author.POLICY)


@pytest.mark.parametrize("estimator", sorted(ESTIMATORS))
@given(value=st.floats(-5, 5), count=st.integers(1, 6))
def test_a_group_of_one_and_constant_groups_give_exactly_nothing(estimator, value, count):
    found = group_credits(group([1] * count), scores([value] * count), estimator)
    assert len(found) == count
    assert all(c.dead for c in found)
    assert all(v == 0.0 for c in found for v in c.segments)


@pytest.mark.parametrize("estimator", sorted(ESTIMATORS))
def test_who_was_not_scored_leaves_every_statistic(estimator):
    episodes = group([1, 1, 1, 1])
    masked = group_credits(episodes, scores([1, None, 0, None]), estimator)
    alone = group_credits([episodes[0], episodes[2]], scores([1, 0]), estimator)
    assert [c.episode for c in masked] == [episodes[0], episodes[2]]
    assert [c.segments for c in masked] == [c.segments for c in alone]


def test_one_that_is_left_over_after_masking_learns_nothing():
    found = group_credits(group([1, 1]), scores([1, None]))
    assert len(found) == 1
    assert found[0].dead


def test_credit_of_turns_is_added_to_its_turn():
    episodes = group([3, 3])
    turned = [Score({}, 1.0, {0: 0.25, 2: -0.5}), Score({}, 0.0)]
    first, second = group_credits(episodes, turned, "dr_grpo")
    assert own(first) == [0.75, 0.5, 0.0]
    assert own(second) == [-0.5] * 3


def test_turns_alone_can_revive_a_dead_group():
    turned = [Score({}, 1.0, {0: 0.25}), Score({}, 1.0)]
    first, second = group_credits(group([1, 1]), turned)
    assert not first.dead
    assert second.dead


def spoken(turn):
    message = Message(role=Role.ASSISTANT, author=Author.POLICY, action=Action("x"))
    ids, logprobs = np.zeros(1, np.int32), np.zeros(1, np.float32)
    return Segment(
        author=Author.POLICY, turn=turn, ids=ids, logprobs=logprobs, version=0, messages=(message,)
    )


def test_turns_are_counted_along_the_path_over_folds_and_not_for_children():
    episode = Episode(task_id="a")
    for turn in (0, 1):
        (episode.contexts[0] if turn else episode.open("policy")).append(spoken(turn))
    episode.open("policy", edge=Fold(0)).append(spoken(0))
    episode.open("helper", edge=Spawn(0, 0, 0)).append(spoken(0))
    by_turn = Score({}, 0.0, {0: 10.0, 1: 20.0, 2: 30.0})
    credits = group_credits([episode], [by_turn])
    assert [own(c) for c in credits] == [[10.0, 20.0], [30.0], [0.0]]


def test_wrong_counts_and_names_are_told():
    with pytest.raises(VToolError, match="1 scores for 2 episodes"):
        group_credits(group([1, 1]), scores([1]))
    with pytest.raises(VToolError, match="no estimator 'gpro'"):
        group_credits(group([1]), scores([1]), "gpro")


# ------------------------------------------------------------------------------ trees


def tree(*, forks=((0, 1), (0, 1))):
    """A trunk with an opening and two turns, and forks that go on from it, one turn each."""
    episode = Episode(task_id="t")
    episode.store.add(picture())
    opening = begin(RENDERER, [question(Show("image_1"), "What?")], episode.store)
    trunk = episode.open("policy")
    for segment in opening.segments:
        trunk.append(segment)
    say(RENDERER, trunk, "One.\n<answer>1</answer>")
    trunk.stop = StopReason.ANSWERED
    for number, (parent, at) in enumerate(forks):
        branch = episode.open("policy", edge=Fork(parent, at))
        say(RENDERER, branch, f"Other.\n<answer>{number}</answer>", seed=number)
        branch.stop = StopReason.ANSWERED
    return episode


def test_leaves_of_a_fork_are_judged_against_each_other():
    """Three answers to one question: each learns from its own tokens only."""
    episode = tree()
    marks = {0: Score({}, 1.0), 1: Score({}, 0.0), 2: Score({}, 0.5)}
    found = tree_credits(episode, marks, fork_weight=1.0)
    assert [own(c)[-1] for c in found] == pytest.approx([0.5, -0.5, 0.0])
    for credit in found[1:]:
        shared = credit.segments[: credit.context.shared]
        assert all(v == 0 for v in shared)


def test_a_leaf_that_failed_leaves_the_tree():
    marks = {0: Score({}, 1.0), 1: Score({}, Unscored("lost")), 2: Score({}, 0.0)}
    found = tree_credits(tree(), marks, fork_weight=1.0)
    assert [own(c)[-1] for c in found] == pytest.approx([0.5, 0.0, -0.5])


def test_every_segment_of_a_tree_lies_in_one_node():
    episode = tree(forks=((0, 1), (0, 1), (1, 1)))
    covered = {c.number: np.zeros(len(c.segments), int) for c in episode.contexts}
    for node in tree_nodes(episode):
        covered[node.context][node.start : node.end] += 1
    for context in episode.contexts:
        assert (covered[context.number][context.shared :] == 1).all()
        assert (covered[context.number][: context.shared] == 0).all()
