"""Trees of attempts: exact counts, what is kept, node budgets, and the trace and back."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import TASK, Unsure, looks, maker, own_ids, seats
from scripts import answer_text, zoom_text
from vtool.rl.collect import Collected
from vtool.rl.group_advantage import group_credits
from vtool.rl.pair_spec import Pairing, PairSpec
from vtool.rl.prefer import find_pairs
from vtool.rl.regrow import regrow
from vtool.rl.rollouts import cut_credits, path, path_episode, pointers
from vtool.rl.run import write_groups

from vtool.errors import EngineError, ForkRefused, RecipeError
from vtool.message import Author
from vtool.programs.solo import play
from vtool.programs.tree import Keep, TreeSettings, tree
from vtool.record import Fork, Group, StopReason
from vtool.reward import Score, Unscored
from vtool.trace import read_trace


def grow(engine, count=6, key=(5,), make=None, **options):
    made = TreeSettings(**options)
    return asyncio.run(
        tree(make or maker(max_turns=4), seats(engine), count=count, settings=made, key=key)
    )


def mixed(key):
    """Looks once or twice, then is right in every second path."""
    return zoom_text() if key[-1] < 1 + sum(key) % 2 else answer_text("7" if key[-2] % 2 else "1")


@settings(max_examples=15)
@given(
    count=st.integers(1, 7),
    starts=st.integers(0, 7),
    fork=st.integers(1, 3),
    keep=st.sampled_from(list(Keep)),
    nodes=st.integers(0, 30),
    turns=st.integers(0, 3),
)
def test_exactly_as_many_attempts_as_were_asked_for(count, starts, fork, keep, nodes, turns):
    found = grow(Unsure(looks(turns)), count, starts=starts, fork=fork, keep=keep, nodes=nodes)
    assert len(found) == count
    for view in found:
        assert not view.stop.ours
        edge = view.final.edge
        if edge is not None:
            assert isinstance(edge, Fork)
            shared = view.contexts[edge.parent].segments[: edge.at]
            assert all(a is b for a, b in zip(view.final.segments, shared, strict=False))
            assert view.final.segments[view.final.shared].author is Author.POLICY
    for i, pointer in enumerate(pointers(Group("t", found))):
        assert -1 <= pointer.parent < i


def test_a_tree_of_one_start_doubles_until_there_are_enough():
    """1 -> 2 -> 4 attempts: two turns of looking, each of which forks once."""
    found = grow(Unsure(looks(3)), 4, starts=1, fork=2, keep=Keep.EVEN)
    assert len({id(e.contexts) for e in found}) == 1
    assert pointers(Group("t", found))[1].turns >= 1
    turns = sorted(p.turns for p in pointers(Group("t", found)))
    assert turns == [0, 1, 2, 2]


def test_without_forks_it_is_flat_sampling_bit_for_bit():
    found = grow(Unsure(mixed), 4, fork=1)
    for attempt, episode in enumerate(found):
        env = maker(max_turns=4)(attempt)
        alone = asyncio.run(play(env, seats(Unsure(mixed)), key=(5, attempt)))
        assert own_ids(episode) == own_ids(alone)
        assert episode.final.logprobs().tolist() == alone.final.logprobs().tolist()


def test_a_node_budget_bounds_what_is_written_beside_the_attempts():
    free, bound = Unsure(looks(3)), Unsure(looks(3))
    grow(free, 4, fork=3)
    grow(bound, 4, fork=3, nodes=8)
    assert len(free.keys) > len(bound.keys)
    assert len(bound.keys) <= 16  # four attempts of four turns need no more than that


def test_random_keeping_gives_paths_up_and_splits_others():
    found = grow(Unsure(looks(3)), 6, fork=3, keep=Keep.RANDOM)
    starts = {e.seed for e in found}
    assert len(starts) < 6
    even = grow(Unsure(looks(3)), 6, fork=3, keep=Keep.EVEN)
    assert {e.seed for e in even} == set(range(6))


def test_what_nobody_went_on_with_is_on_record_and_teaches_nobody():
    found = grow(Unsure(looks(3)), 4, starts=1, fork=3, keep=Keep.RANDOM)
    record = found[0]
    on_path = {(s.context.number, s.end) for e in found for s in path(e)}
    stubs = [c for c in record.contexts if c.number not in {n for n, _ in on_path}]
    assert stubs
    scores = [Score({}, float(i)) for i in range(len(found))]
    credits = cut_credits(found, group_credits(found, scores))
    numbers = [c.context.number for c in credits]
    assert len(numbers) == len(set(numbers))
    assert not {c.number for c in stubs} & set(numbers)
    tokens = sum(len(s) for c in credits for s in c.context.segments[c.context.shared :])
    written = {id(s): len(s) for e in found for s in e.final.segments}
    assert tokens == sum(written.values())


def test_a_shared_turn_has_the_mean_of_its_attempts_and_is_learnt_once():
    found = grow(Unsure(looks(2)), 4, starts=2, fork=2, keep=Keep.EVEN, nodes=0)
    scores = [Score({}, float(i == 0)) for i in range(4)]
    credits = cut_credits(found, group_credits(found, scores, "dr_grpo"))
    alone = {0: 0.75, 1: -0.25, 2: -0.25, 3: -0.25}
    for credit in credits:
        for i, segment in enumerate(credit.context.segments):
            if i < credit.context.shared or segment.author is not Author.POLICY:
                continue
            through = [
                n for n, e in enumerate(found) if any(segment is s for s in e.final.segments)
            ]
            wanted = np.mean([alone[n] for n in through])
            assert credit.segments[i] == pytest.approx(wanted)


def test_attempts_that_cannot_begin_count_and_the_tree_ends():
    class Broken:
        def __init__(self):
            self.inner = maker()(0)

        def __getattr__(self, name):
            return getattr(self.inner, name)

        async def reset(self):
            raise OSError("disk")

    made = maker(max_turns=4)
    found = grow(Unsure(looks(1)), 4, make=lambda n: Broken() if n == 1 else made(n))
    assert len(found) == 4
    assert [e.stop for e in found].count(StopReason.FAILED) == 1


def test_a_world_that_cannot_be_forked_is_played_flat():
    class Unforkable:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        async def fork(self):
            raise ForkRefused("no")

    made = maker(max_turns=4)
    found = grow(Unsure(looks(2)), 5, starts=2, make=lambda n: Unforkable(made(n)))
    assert len(found) == 5
    assert all(e.final.edge is None for e in found)


def test_an_engine_that_breaks_masks_its_paths_only():
    script = lambda key: EngineError("gone") if key[1] == 2 else looks(1)(key)  # noqa: E731
    found = grow(Unsure(script), 5, keep=Keep.EVEN)
    assert len(found) == 5
    assert 1 <= sum(e.stop.ours for e in found) <= 2


@pytest.mark.parametrize("bad", [{"fork": 0}, {"starts": -1}, {"nodes": -1}])
def test_settings_that_make_no_tree_are_refused(bad):
    with pytest.raises(RecipeError, match="fork >= 1"):
        TreeSettings(**bad)


# ------------------------------------------------------------------- trace and back


def played(marks=(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)):
    found = grow(Unsure(looks(2)), len(marks), starts=2, fork=2, keep=Keep.EVEN)
    scores = [Score({}, m) for m in marks]
    return Collected(tasks=[TASK], groups=[Group("t", found)], scores=[scores])


def test_an_attempt_alone_has_its_tokens_and_log_probs_whole():
    for view in played().groups[0].episodes:
        alone = path_episode(view)
        assert alone.final.ids().tolist() == view.final.ids().tolist()
        assert alone.final.logprobs().tolist() == view.final.logprobs().tolist()
        assert (alone.stop, alone.answer) == (view.stop, view.answer)
        assert [a.text for a in alone.actions()] == [a.text for a in view.actions()]
        own = sum(len(s) for c in alone.contexts for s in c.segments[c.shared :])
        assert own == len(view.final)


def test_a_tree_comes_back_from_its_lines(tmp_path: Path):
    collected = played()
    write_groups(tmp_path, collected, 3)
    records = list(read_trace(tmp_path))
    assert [r.meta["attempt"] for r in records] == list(range(6))
    (group,) = regrow(records)
    before, after = collected.groups[0], Group("t", group.episodes)
    assert pointers(before) == pointers(after)
    for old, new in zip(before.episodes, group.episodes, strict=True):
        assert old.final.ids().tolist() == new.final.ids().tolist()
        assert old.answer == new.answer
    assert [s.total for s in group.scores] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert records[2].meta.get("parent") is not None


def test_pairs_of_a_tree_share_their_past_and_differ_in_what_came_of_it(tmp_path: Path):
    write_groups(tmp_path, played(), 0)
    (group,) = regrow(read_trace(tmp_path))
    pairs = find_pairs(group, PairSpec())
    assert pairs
    for pair in pairs:
        assert pair.chosen.past() == pair.rejected.past()
        assert len(pair.chosen.past()) > 0
    assert len(find_pairs(group, PairSpec(most=1))) == 1
    ranked = find_pairs(group, PairSpec(by=Pairing.RANKED))
    assert len(ranked) == 1
    lost = [Score({}, Unscored("x"))] * 6
    assert not find_pairs(type(group)(group.task_id, group.episodes, tuple(lost)), PairSpec())
